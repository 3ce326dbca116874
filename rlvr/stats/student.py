"""Student's t distribution, and how p-values are corrected and written. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

LEVEL = 0.05  # of every test, intervals are 95 %
POWER = 0.8  # with which a difference counts as detectable
RESOLUTION = 1e-4  # below it, a p-value of few clusters rests on tails that nobody has seen


def t_cdf(t: float, df: int) -> float:
    """Return P(T <= t) of Student's t with whole degrees of freedom (Abramowitz and Stegun 26.7.3, 26.7.4)."""
    theta = math.atan2(abs(t), math.sqrt(df))
    cos2, term, total = math.cos(theta) ** 2, 1.0, 1.0
    # The finite series multiplies cos^2 by 2/3, 4/5 ... for odd df and by 1/2, 3/4 ... for even df.
    for i in range(1, df // 2):
        term *= cos2 * (2 * i / (2 * i + 1) if df % 2 else (2 * i - 1) / (2 * i))
        total += term
    if df % 2:
        series = math.sin(theta) * math.cos(theta) * total if df > 1 else 0.0
        central = 2 / math.pi * (theta + series)
    else:
        central = math.sin(theta) * total
    return 0.5 + math.copysign(central / 2, t)


@cache
def t_quantile(p: float, df: int) -> float:
    """Return the t with P(T <= t) = p for 0 < p < 1, by bisection."""
    low, high = -1e8, 1e8
    for _ in range(120):
        middle = (low + high) / 2
        low, high = (middle, high) if t_cdf(middle, df) < p else (low, middle)
    return (low + high) / 2


def two_sided(t: float, df: int) -> float:
    """Return the two-sided p-value of a t statistic."""
    return 2 * (1 - t_cdf(abs(t), df))


def detectable_by(error: float, df: int) -> float:
    """Return the difference that a t-test with this standard error finds with 80 % power."""
    return (t_quantile(1 - LEVEL / 2, df) + t_quantile(POWER, df)) * error


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values adjusted for having made all these tests (Holm 1979); nan stays nan and counts not."""
    order = sorted((p, i) for i, p in enumerate(p_values) if not math.isnan(p))
    adjusted, largest = [math.nan] * len(p_values), 0.0
    for rank, (p, i) in enumerate(order):
        largest = max(largest, min(1.0, p * (len(order) - rank)))
        adjusted[i] = largest
    return adjusted


def p_text(p: float | None) -> str:
    """Return a p-value as a person reads it: "<= 0.0001" where it is no larger, "-" where there is none."""
    if p is None or math.isnan(p):
        return "-"
    return f"<= {RESOLUTION:g}" if p <= RESOLUTION else f"{p:.3g}"


def interval_text(
    value: float | None, low: float | None, high: float | None, form: str = ".3f", level: str = ""
) -> str:
    """A value and its interval as a person reads them, both in `form`: "0.450 (0.348..0.556)", or "-" without a value.

    `level` stands before the bounds; a value that has none stands alone.
    """
    if value is None or math.isnan(value):
        return "-"
    if low is None or high is None or math.isnan(low):
        return f"{value:{form}}"
    return f"{value:{form}} ({level}{low:{form}}..{high:{form}})"
