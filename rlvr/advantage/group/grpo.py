"""GRPO (arXiv 2402.03300, section 4.1.2): reward minus group mean, over the group's standard deviation."""

import numpy as np

from rlvr.types import Floats

EPSILON = 1e-6  # a group of equal rewards gets 0, not 0 / 0


def grpo(rewards: Floats, ddof: int) -> Floats:
    """[n] -> [n]: A_i = (r_i - mean r) / (std r + 1e-6), std r = sqrt(sum_j (r_j - mean r)^2 / (n - ddof)).

    The paper leaves `ddof` open. 0, the population's, is ours; TRL, verl and OpenRLHF (group_norm) take torch.std,
    which is 1: their advantages are smaller by sqrt((n - 1) / n), and 0 in a group of one.
    """
    # In float64 the mean of equal fp32 rewards is exact; in fp32 the epsilon would not hide its rounding.
    mean = rewards.mean(dtype=np.float64)
    std = rewards.std(dtype=np.float64, ddof=ddof) if len(rewards) > ddof else 0.0
    return ((rewards - mean) / (std + EPSILON)).astype(np.float32)
