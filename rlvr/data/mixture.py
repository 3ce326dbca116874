"""How the prompts of several sources follow each other: by weight, as evenly as whole prompts allow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from rlvr.errors import DataError


def whole_weights(weights: Sequence[float]) -> tuple[int, ...]:
    """Weights as the smallest whole numbers in the same proportions; decimals count as they are written.

    Raises:
        DataError: one is negative, infinite or no number, or all are 0.
    """
    for place, weight in enumerate(weights):
        if not 0 <= weight < math.inf:
            raise DataError(f"the weight of source {place} is {weight}; expected a number of at least 0")
    shares = [Fraction(repr(float(weight))) for weight in weights]
    if not any(shares):
        raise DataError("the weights of all sources are 0; expected at least one above 0")
    common = math.lcm(*(share.denominator for share in shares))
    whole = [int(share * common) for share in shares]
    return tuple(weight // math.gcd(*whole) for weight in whole)


def place_in_mixture(position: int, weights: Sequence[int]) -> tuple[int, int]:
    """Return (source, position within it) of a position of the mixture.

    Of the first p prompts source i has floor or ceil of its share of those that the sources before it leave: fewer
    than one off for the first, fewer than i + 1 for source i. Every place of every source is met exactly once, in
    its order, and nothing before the position need be known.
    """
    left, total = position, sum(weights)
    for source, weight in enumerate(weights):
        before = left * weight // total
        if (left + 1) * weight // total > before:
            return source, before
        left, total = left - before, total - weight
    raise AssertionError("the last source with a weight takes what is left")
