"""How unequally something is spread over tokens: numbers without a unit, in float64. Pure.

All take [n] numbers of which the sizes count, not the signs, and are nan where there are none or all are 0.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray


def gini(values: NDArray[Any]) -> float:
    """Gini coefficient: 0 where all are equal, (n - 1) / n where one has it all.

    The mean absolute difference of two values over twice their mean (Gini 1912), by the sorted values' ranks.
    """
    sizes, total = _sizes(values)
    if not total:
        return math.nan
    count = len(sizes)
    ranks = np.arange(1, count + 1)
    return max(0.0, float((2 * ranks - count - 1) @ np.sort(sizes)) / (count * total))


def effective_ratio(values: NDArray[Any]) -> float:
    """(sum w)^2 / (n sum w^2): 1 where all are equal, 1 / n where one has it all (Kish 1965, effective sample size)."""
    sizes, total = _sizes(values)
    return float(total**2 / (len(sizes) * (sizes @ sizes))) if total else math.nan


def top_share(values: NDArray[Any], share: float) -> float:
    """What the largest values, this share of them rounded up, have of the sum of all."""
    sizes, total = _sizes(values)
    if not total:
        return math.nan
    first = len(sizes) - math.ceil(round(share * len(sizes), 9))  # 0.07 * 100 is a hair above 7
    return float(np.partition(sizes, first)[first:].sum() / total)


def _sizes(values: NDArray[Any]) -> tuple[NDArray[np.float64], float]:
    """The values without their signs, over the largest so that no square overflows or vanishes, and their sum."""
    sizes = np.abs(values.astype(np.float64))
    largest = sizes.max(initial=0.0)
    return (sizes / largest, float((sizes / largest).sum())) if largest > 0 else (sizes, 0.0)
