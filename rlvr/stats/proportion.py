"""Shares of independent trials: how often something succeeds, and how much more often something else does."""

from __future__ import annotations

import math
from statistics import NormalDist

from rlvr.stats.accuracy import Estimate, wilson_bounds

Z95 = NormalDist().inv_cdf(0.975)


def share(successes: int, trials: int) -> Estimate:
    """The share of successes with Wilson's 95 % interval (1927); nan of no trials.

    Raises:
        ValueError: more successes than trials, or fewer than none.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes of {trials} trials: expected from 0 to as many")
    if trials == 0:
        return Estimate(math.nan, math.nan, math.nan)
    return Estimate(successes / trials, *wilson_bounds(successes / trials, trials, Z95))


def difference(before: Estimate, after: Estimate) -> Estimate:
    """after - before of two independent shares, with a 95 % interval from their Wilson intervals.

    Newcombe (1998), "Interval estimation for the difference between independent proportions", method 10.
    """
    moved = after.mean - before.mean
    below = math.hypot(after.mean - after.low, before.high - before.mean)
    above = math.hypot(after.high - after.mean, before.mean - before.low)
    return Estimate(moved, moved - below, moved + above)
