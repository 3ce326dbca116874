"""Group estimators: rewards of the prompts' samples -> one advantage a sample. One estimator a file."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rlvr.advantage.group.dr_grpo import dr_grpo
from rlvr.advantage.group.gpg import gpg
from rlvr.advantage.group.grpo import grpo
from rlvr.advantage.group.reinforce import reinforce
from rlvr.advantage.group.reinforce_pp import (
    reinforce_pp_baseline,
    reinforce_pp_global,
    reinforce_pp_samples,
)
from rlvr.advantage.group.rloo import rloo
from rlvr.config import AdvantageConfig
from rlvr.dotted import find_named, require_function
from rlvr.errors import PluginError
from rlvr.types import Floats, Group, Ints


@dataclass(frozen=True, slots=True)
class Rewarded:
    """What an estimator sees of one prompt: its samples on which the verifier did not fail, at least one."""

    rewards: Floats  # [n]
    lengths: Ints  # [n] response tokens
    drawn: int  # samples of the prompt, those without a reward included


Estimator = Callable[[Sequence[Rewarded], AdvantageConfig], list[Floats]]

ESTIMATORS: dict[str, Estimator] = {
    "grpo": lambda groups, cfg: [grpo(g.rewards, cfg.ddof) for g in groups],
    "dr_grpo": lambda groups, cfg: [dr_grpo(g.rewards) for g in groups],
    "gpg": lambda groups, cfg: gpg([g.rewards for g in groups]),
    "rloo": lambda groups, cfg: [rloo(g.rewards, g.drawn) for g in groups],
    "reinforce": lambda groups, cfg: [reinforce(g.rewards) for g in groups],
    "reinforce_pp_global": lambda groups, cfg: reinforce_pp_global(
        [g.rewards for g in groups], [g.lengths for g in groups]
    ),
    "reinforce_pp_baseline": lambda groups, cfg: reinforce_pp_baseline(
        [g.rewards for g in groups], [g.lengths for g in groups]
    ),
    "reinforce_pp_samples": lambda groups, cfg: reinforce_pp_samples([g.rewards for g in groups]),
    "none": lambda groups, cfg: [np.zeros_like(g.rewards) for g in groups],
}
RENAMED = {"reinforce_pp": "reinforce_pp_samples"}  # old name -> name
WITHOUT_GROUP = frozenset(
    {"rloo", "reinforce", "reinforce_pp_global", "none"}
)  # learn from a single sample of a prompt


def build_estimator(name: str) -> Estimator:
    """The estimator called `name` (built in, by its old name too, or a dotted path).

    Raises:
        ConfigError: unknown name, or no function (groups, cfg).
    """
    estimator = find_named(RENAMED.get(name, name), ESTIMATORS, "advantage.estimator")
    require_function(estimator, name, "advantage.estimator", ("groups", "cfg"))
    return estimator


def group_advantage(groups: Sequence[Group], cfg: AdvantageConfig) -> tuple[Group, ...]:
    """Return the groups with every sample's advantage set from the rewards of its group, or of the batch.

    Samples on which the verifier failed count nowhere; theirs is 0, and they are not in the loss.

    Raises:
        PluginError: the estimator gave no finite advantage for every sample.
    """
    found = [_rewarded(g) for g in groups if g.graded]
    advantages = build_estimator(cfg.estimator)(found, cfg) if found else []
    _check_advantages(advantages, found, cfg.estimator)
    values = iter(np.concatenate(advantages) if found else ())
    return tuple(
        replace(
            group,
            samples=tuple(
                replace(s, advantage=0.0 if s.failed else float(next(values))) for s in group.samples
            ),
        )
        for group in groups
    )


def _check_advantages(advantages: Sequence[Floats], groups: Sequence[Rewarded], name: str) -> None:
    expected, given = [g.rewards.shape for g in groups], [np.shape(a) for a in advantages]
    if given != expected:
        raise PluginError(
            f"advantage.estimator={name}: returned arrays of shapes {given[:5]}, expected one [n] array for each "
            f"group: {expected[:5]}"
        )
    bad = sum(int((~np.isfinite(a)).sum()) for a in advantages)
    if bad:
        raise PluginError(f"advantage.estimator={name}: {bad} advantages are NaN or infinite")


def _rewarded(group: Group) -> Rewarded:
    return Rewarded(
        rewards=np.asarray([s.reward for s in group.graded], dtype=np.float32),
        lengths=np.asarray([len(s.token_ids) for s in group.graded], dtype=np.int64),
        drawn=len(group.samples),
    )
