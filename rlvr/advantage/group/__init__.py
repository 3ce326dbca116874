"""Group estimators: rewards of one prompt's samples [n] -> advantages [n]. One estimator a file."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from rlvr.advantage.group.dr_grpo import dr_grpo
from rlvr.advantage.group.grpo import grpo
from rlvr.advantage.group.reinforce_pp import whiten
from rlvr.advantage.group.rloo import rloo
from rlvr.types import Floats, Group

GroupEstimator = Callable[[Floats], Floats]

ESTIMATORS: dict[str, GroupEstimator] = {
    "grpo": grpo,
    "dr_grpo": dr_grpo,
    "rloo": rloo,
    "reinforce_pp": dr_grpo,  # group baseline here, whitening over the batch below
}
WHITENED = frozenset({"reinforce_pp"})  # normalised over the whole batch instead of within the group


def group_advantage(groups: Sequence[Group], estimator: str) -> tuple[Group, ...]:
    """Return the groups with every sample's advantage set from the rewards of its group."""
    per_group = [
        ESTIMATORS[estimator](np.asarray([s.reward for s in g.samples], dtype=np.float32)) for g in groups
    ]
    if estimator in WHITENED:
        per_group = whiten(per_group)
    return tuple(
        replace(
            group,
            samples=tuple(replace(s, advantage=float(a)) for s, a in zip(group.samples, values, strict=True)),
        )
        for group, values in zip(groups, per_group, strict=True)
    )
