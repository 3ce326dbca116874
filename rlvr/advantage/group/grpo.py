"""GRPO (arXiv 2402.03300, section 4.1.2): reward minus group mean, over the group's standard deviation."""

import numpy as np

from rlvr.types import Floats

EPSILON = 1e-6  # a group of equal rewards gets 0, not 0 / 0


def grpo(rewards: Floats) -> Floats:
    """[n] -> [n]: A_i = (r_i - mean r) / (std r + 1e-6), the population standard deviation."""
    # In float64 the mean of equal fp32 rewards is exact; in fp32 the epsilon would not hide its rounding.
    mean, std = rewards.mean(dtype=np.float64), rewards.std(dtype=np.float64)
    return ((rewards - mean) / (std + EPSILON)).astype(np.float32)
