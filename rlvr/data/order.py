"""Orders of a data set that never change between versions."""

from __future__ import annotations

from functools import lru_cache

import numpy as np


@lru_cache(maxsize=32)
def epoch_order(seed: int, epoch: int, size: int) -> tuple[int, ...]:
    """Return the order of an epoch, a permutation of `range(size)`.

    Uses NumPy's frozen legacy generator: its streams never change between versions, so a run resumes the same
    after an upgrade. The seed must lie in [0, 2**32).
    """
    return tuple(np.random.RandomState([seed, epoch]).permutation(size).tolist())
