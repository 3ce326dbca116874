"""RLOO (arXiv 2402.14740, eq. 8): reward minus the mean of the other samples."""

import numpy as np

from rlvr.types import Floats


def rloo(rewards: Floats) -> Floats:
    """[n] -> [n]: A_i = r_i - sum_{j != i} r_j / (n - 1); a single sample keeps its reward."""
    n = len(rewards)
    if n == 1:
        return rewards.astype(np.float32)
    return ((rewards - rewards.mean(dtype=np.float64)) * (n / (n - 1))).astype(np.float32)
