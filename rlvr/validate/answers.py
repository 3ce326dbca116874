"""Given answers (rollout.answers) beside settings that only sampled ones have a use for."""

from __future__ import annotations

from rlvr.config import Config
from rlvr.data.curriculum import UNIFORM


def answers_problems(cfg: Config) -> list[str]:
    """What is wrong, one message each; empty if nothing is, or answers are sampled."""
    if cfg.rollout.answers is None:
        return []
    found = []
    if cfg.rollout.dynamic_sampling or cfg.rollout.staleness:
        found.append(
            "rollout.answers: given answers need neither rollout.dynamic_sampling nor rollout.staleness; turn them off"
        )
    if cfg.rollout.replay is not None:
        found.append("rollout.answers with rollout.replay: a replayed batch has its answers; leave one out")
    if cfg.data.sampler != UNIFORM:
        found.append(
            f"data.sampler={cfg.data.sampler} with rollout.answers: given answers say nothing about what the policy "
            f"can do; set data.sampler={UNIFORM}"
        )
    return found
