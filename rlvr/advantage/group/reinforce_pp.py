"""REINFORCE++ with a group baseline (arXiv 2501.03262, section 3): the group mean is subtracted, then the
advantages are whitened over the whole batch."""

from collections.abc import Sequence

import numpy as np

from rlvr.types import Floats

EPSILON = 1e-8


def whiten(advantages: Sequence[Floats]) -> list[Floats]:
    """Normalise the values of all groups together to mean 0 and standard deviation 1."""
    flat = np.concatenate(advantages)
    mean, std = flat.mean(dtype=np.float64), flat.std(dtype=np.float64)
    return [((a - mean) / (std + EPSILON)).astype(np.float32) for a in advantages]
