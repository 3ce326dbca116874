"""Dr. GRPO (arXiv 2503.20783, section 3.2): reward minus group mean, without the division that favours
very easy and very hard questions."""

import numpy as np

from rlvr.types import Floats


def dr_grpo(rewards: Floats) -> Floats:
    """[n] -> [n]: A_i = r_i - mean r."""
    return (rewards - rewards.mean(dtype=np.float64)).astype(np.float32)
