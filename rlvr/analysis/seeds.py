"""Statistics over seeds: Student's t, paired differences, Holm's correction, how many seeds would be needed.

The seed is the unit here: it answers how the number would move with another run of the same training. How it would
move with other problems is `rlvr.analysis.accuracy`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike

LEVEL = 0.05  # of every test, intervals are 95 %
POWER = 0.8  # of the numbers of seeds asked for
MOST_SEEDS = 10_000
ROUNDING = 1e-12  # differences of accuracies below this are none


@dataclass(frozen=True, slots=True)
class SeedMean:
    """A mean over seeds with its 95 % t-interval; infinite for one seed."""

    mean: float
    low: float
    high: float
    seeds: int


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """What a condition gains over another, each seed against the same seed."""

    mean: float
    low: float
    high: float
    p_value: float  # two-sided paired t-test, see `paired_difference`; nan for fewer than two seeds
    seeds: int
    needed: int | None  # seeds to find a difference of this size and spread; None if none is known to do


def t_cdf(t: float, df: int) -> float:
    """Return P(T <= t) of Student's t with whole degrees of freedom (Abramowitz and Stegun 26.7.3, 26.7.4)."""
    theta = math.atan2(abs(t), math.sqrt(df))
    cos2, term, total = math.cos(theta) ** 2, 1.0, 1.0
    # The finite series multiplies cos^2 by 2/3, 4/5 ... for odd df and by 1/2, 3/4 ... for even df.
    for i in range(1, (df - 1) // 2 if df % 2 else df // 2):
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


def seed_mean(values: ArrayLike) -> SeedMean:
    """Return the mean of one number per seed with its t-interval; raises ValueError for no seed."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or len(array) == 0:
        raise ValueError(f"values are {array.shape}; expected one number per seed, at least one")
    mean, n = float(array.mean()), len(array)
    half = t_quantile(1 - LEVEL / 2, n - 1) * float(array.std(ddof=1)) / math.sqrt(n) if n > 1 else math.inf
    return SeedMean(mean, mean - half, mean + half, n)


def paired_difference(values: ArrayLike, baseline: ArrayLike) -> PairedDifference:
    """Return what `values` gain over `baseline`, paired by position; raises ValueError if they cannot be paired.

    Accuracies on few samples are coarse, so a difference can be the same in every seed by chance; the t-test would
    be infinitely sure then, and the sign test, p = 2^(1 - n), takes its place.
    """
    first, second = np.asarray(values, dtype=np.float64), np.asarray(baseline, dtype=np.float64)
    if first.shape != second.shape:
        raise ValueError(f"{first.shape} values against {second.shape}: expected one pair per seed")
    differences = first - second
    estimate, n = seed_mean(differences), len(differences)
    if n < 2:
        return PairedDifference(estimate.mean, estimate.low, estimate.high, math.nan, n, None)
    spread = float(differences.std(ddof=1))
    if spread < ROUNDING:
        p_value = 1.0 if abs(estimate.mean) < ROUNDING else 2.0 ** (1 - n)
    else:
        p_value = 2 * (1 - t_cdf(abs(estimate.mean) / spread * math.sqrt(n), n - 1))
    needed = seeds_needed(estimate.mean, spread)
    return PairedDifference(estimate.mean, estimate.low, estimate.high, p_value, n, needed)


def seeds_needed(difference: float, spread: float) -> int | None:
    """Return the seeds with which a paired t-test finds this difference with 80 % power, None beyond 10 000.

    The smallest n with n >= ((t_{0.975, n-1} + t_{0.8, n-1}) spread / difference)^2. Spread is the standard
    deviation of the paired differences; with a few seeds it is itself uncertain, so this is a rough guide.
    """
    if abs(difference) < ROUNDING:
        return None
    if spread < ROUNDING:
        return math.ceil(1 - math.log2(LEVEL))  # of the sign test
    for n in range(2, 101):
        factor = t_quantile(1 - LEVEL / 2, n - 1) + t_quantile(POWER, n - 1)
        if n >= (factor * spread / difference) ** 2:
            return n
    n = math.ceil((factor * spread / difference) ** 2)  # beyond 100 the quantiles hardly change
    return n if n <= MOST_SEEDS else None


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values adjusted for having made all these tests (Holm 1979); nan stays nan and counts not."""
    order = sorted((p, i) for i, p in enumerate(p_values) if not math.isnan(p))
    adjusted, largest = [math.nan] * len(p_values), 0.0
    for rank, (p, i) in enumerate(order):
        largest = max(largest, min(1.0, p * (len(order) - rank)))
        adjusted[i] = largest
    return adjusted
