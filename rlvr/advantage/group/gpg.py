"""GPG (arXiv 2504.02546, section 3): reward minus group mean, scaled up for the groups that teach nothing."""

from collections.abc import Sequence

import numpy as np

from rlvr.advantage.group.dr_grpo import dr_grpo
from rlvr.types import Floats


def gpg(rewards: Sequence[Floats]) -> list[Floats]:
    """Rewards [n] of every group -> [n] each: A_i = alpha (r_i - mean r), alpha = B / (B - M), of B samples those M in
    groups of equal rewards, whose gradient is 0; with the paper's F_norm = 1."""
    drawn = sum(len(r) for r in rewards)
    taught = sum(len(r) for r in rewards if np.ptp(r) > 0)
    alpha = drawn / taught if taught else 1.0
    return [(alpha * dr_grpo(r)).astype(np.float32) for r in rewards]
