"""Statistics over seeds: means, paired differences, and the smallest difference that the seeds could have shown.

The seed is the unit here: it answers how the number would move with another run of the same training. How it would
move with other problems is `rlvr.stats.accuracy`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from rlvr.stats.student import LEVEL, detectable_by, t_quantile, two_sided

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
    detectable: float | None  # the smallest difference that these seeds find with 80 % power; None: not known


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
        # The same test's interval: no other difference is refuted until 2^(1 - n) is below the level.
        wide = math.inf if 2.0 ** (1 - n) > LEVEL else 0.0
        estimate = replace(estimate, low=estimate.mean - wide, high=estimate.mean + wide)
    else:
        p_value = two_sided(estimate.mean / spread * math.sqrt(n), n - 1)
    detectable = detectable_difference(spread, n)
    return PairedDifference(estimate.mean, estimate.low, estimate.high, p_value, n, detectable)


def detectable_difference(spread: float, seeds: int) -> float | None:
    """Return the smallest difference that a paired t-test over so many seeds finds with 80 % power.

    (t_{0.975, n-1} + t_{0.8, n-1}) spread / sqrt(n). Spread is the standard deviation of the paired differences, not
    their mean: power computed from the observed effect would only repeat the p-value (Hoenig and Heisey 2001). None for
    a single seed, and where all differences are equal, which tells nothing of the spread.
    """
    if seeds < 2 or spread < ROUNDING:
        return None
    return detectable_by(spread / math.sqrt(seeds), seeds - 1)
