"""RLOO (arXiv 2402.14740, eq. 8): reward minus the mean of the other samples."""

import numpy as np

from rlvr.types import Floats


def rloo(rewards: Floats, drawn: int) -> Floats:
    """[n] -> [n]: A_i = r_i - sum_{j != i} r_j / (n - 1), over the n graded ones of `drawn` samples.

    The only sample of a prompt keeps its reward (plain REINFORCE); one that is left over because the verifier failed
    on all others has nothing to be compared with and gets 0.
    """
    n = len(rewards)
    if n == 1:
        return rewards.astype(np.float32) if drawn == 1 else np.zeros(1, dtype=np.float32)
    return ((rewards - rewards.mean(dtype=np.float64)) * (n / (n - 1))).astype(np.float32)
