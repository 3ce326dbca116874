"""Which keys matter when it is asked whether two runs are the same: one table for each form of the question.

A key that a table does not name matters. A name that ends in a dot stands for a whole section.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class KeySet:
    """Dotted keys, and sections by their dot."""

    names: tuple[str, ...]

    def __contains__(self, key: str) -> bool:
        return any(key == name or (name.endswith(".") and key.startswith(name)) for name in self.names)

    def __or__(self, other: KeySet) -> KeySet:
        return KeySet(self.names + other.names)

    def less(self, *names: str) -> KeySet:
        """The set without these of its names."""
        return KeySet(tuple(name for name in self.names if name not in names))


# Resuming: what changes no number, or only for how long (steps), in how much memory or in which order sums are taken.
FREE = KeySet(
    (
        "steps",
        "run.",
        "tracking.",
        "eval.every",
        "eval.in_stream",
        "cluster.",
        "reward.workers",
        "model.download_stall_seconds",
        "reward.deadline_seconds",
        "reward.memory_mb",
        "reward.max_failed",
        "rollout.deadline_seconds",
        "rollout.start_deadline_seconds",
        "rollout.stall_seconds",
        "rollout.restarts",
        "rollout.engines",
        "rollout.memory_utilization",
        "rollout.kv_cache_mb",
        "rollout.max_concurrent",
        "learner.deadline_seconds",
        "learner.start_deadline_seconds",
        "learner.tokens_per_micro_batch",
        "learner.share_prompts",
        "learner.sequence_parallel",
        "model.gradient_checkpointing",
        "learner.checkpoint_every",
        "learner.checkpoint_keep",
        "learner.mlp_tile_tokens",
        "sync.",
    )
)
# Comparing runs, which have as many steps: the same without `steps`.
FREE_OF_COMPARED = FREE.less("steps")
# Resuming: what does change what is computed, but mends what stopped the run.
REMEDIES = KeySet(("rollout.max_rounds",))
# Resuming, on the record: how far an update goes, not what it aims at (that makes another run) and nothing that the
# checkpoint's state depends on (as Adam's moments do on betas and eps).
RECORDED = KeySet(
    (
        "learner.lr",
        "learner.schedule",
        "learner.warmup_updates",
        "learner.max_grad_norm",
        "learner.weight_decay",
        "rollout.replay",
    )
)
# The runs of a sweep: what each has of its own.
OF_ONE_RUN = KeySet(("seed", "run.", "tracking.", "cluster.jobs"))
# The jobs of a sweep: what the sweep sets.
SET_BY_SWEEP = KeySet(("run.name", "run.resume"))
# A replay and the run that it replays: what each has of its own.
OF_A_REPLAY = KeySet(("run.", "tracking.", "cluster.", "rollout.replay"))
# Going on with an evaluation: where, how fast and how long, but not what is sampled and how it is graded.
NOT_OF_EVALUATION = KeySet(
    (
        "run.",
        "tracking.",
        "cluster.",
        "sync.",
        "learner.",
        "steps",
        "recipe",
        "loss.",
        "advantage.",
        "reward.max_failed",
        "eval.in_stream",
    )
)
# Weight of old policy over rollout engine: belongs to how a run samples (staleness), not to its algorithm.
CORRECTION = KeySet(
    (
        "loss.rollout_correction",
        "loss.rollout_correction_mode",
        "loss.rollout_correction_level",
        "loss.rollout_correction_floor",
    )
)
# A control: what it has from its own recipe (the algorithm, and its place on disk), ...
OF_THE_RECIPE = KeySet(
    (
        "recipe",
        "advantage.",
        "loss.",
        "rollout.dynamic_sampling",
        "rollout.answers",
        "run.",
        "tracking.",
    )
)
# ... the shaping that it has from there as well where the run did not set it itself, ...
SHAPING = KeySet(
    (
        "reward.correct",
        "reward.incorrect",
        "reward.score",
        "reward.overlong",
        "reward.overlong_cache",
        "reward.overlong_filter",
        "reward.length",
        "reward.length_coef",
    )
)
# ... and what says nothing where answers are given.
OF_SAMPLING = CORRECTION | KeySet(
    (
        "rollout.temperature",
        "rollout.top_p",
        "rollout.top_k",
        "rollout.staleness",
        "rollout.on_update",
        "rollout.max_rounds",
    )
)


def general(key: str) -> str:
    """The key of `eval` in whose place a set of data.eval has its own; any other key as it is."""
    found = re.fullmatch(r"data\.eval\.\d+\.(\w+)", key)
    return f"eval.{found[1]}" if found else key


def without(settings: Mapping[str, Any], left_out: KeySet, prefix: str = "") -> dict[str, Any]:
    """Nested settings without these keys and sections."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        key = f"{prefix}{name}"
        if key not in left_out and f"{key}." not in left_out.names:
            found[name] = without(value, left_out, f"{key}.") if isinstance(value, Mapping) else value
    return found
