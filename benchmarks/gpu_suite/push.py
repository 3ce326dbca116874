"""One push after a real update: checksums of the learner's and of the engine's weights, and how long it took.

`python -m benchmarks.gpu_suite.push ipc|nccl|gloo FOLDER` prints one line of JSON. A checksum is the sum of all weights
and of their squares in float64, which fused and transposed matrices leave alone.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import rlvr.learner.group
import rlvr.rollout.pool
from benchmarks.gpu_suite.model import QWEN_1_5B, SMALL, random_model
from rlvr.cli.overrides.compose import load
from rlvr.cluster import wait
from rlvr.learner.actor import Learner
from rlvr.rollout.engine import RolloutEngine
from rlvr.timing import Stopwatch

SECONDS = 300.0
SAME = 1e-6  # relative, of sums in another order


def sums(model: Any) -> tuple[int, float, float]:
    """How many weights, their sum and that of their squares."""
    weights = [p.detach().double() for p in model.parameters()]
    return (
        sum(w.numel() for w in weights),
        sum(w.sum().item() for w in weights),
        sum(w.square().sum().item() for w in weights),
    )


class CheckedEngine(RolloutEngine):
    """An engine that can be asked for the checksum of its weights."""

    def checksum(self) -> tuple[int, float, float]:
        """Of the first rank's model."""
        found: tuple[int, float, float] = self._llm.apply_model(sums)[0]
        return found


class CheckedLearner(Learner):
    """A learner rank that can be asked for the checksum of its weights."""

    def checksum(self) -> tuple[int, float, float]:
        """Of the policy."""
        return sums(self.policy.lm)


def main() -> None:
    """Train one step with checked actors, push, compare."""
    from rlvr.runtime.session import open_session
    from rlvr.train import train_steps

    way, folder = sys.argv[1], Path(sys.argv[2])
    size = SMALL if way == "gloo" else QWEN_1_5B
    rlvr.rollout.pool.RolloutEngine = CheckedEngine  # type: ignore[misc]
    rlvr.learner.group.Learner = CheckedLearner  # type: ignore[misc]
    cfg = load(_arguments(way, random_model(size, folder / "random_model"), folder))
    with open_session(cfg) as session:
        train_steps(session, {"none": 0.0})
        watch = Stopwatch()
        session.push(2)
        seconds = watch.seconds
        handles: list[Any] = [session.learner.handles[0], session.engines.handles[0]]
        found = wait([h.checksum.remote() for h in handles], deadline_seconds=SECONDS, what="checksums")
    learner, engine = found
    # vLLM packs matrices on CPU for its kernels and lets the plain ones go: there is then nothing to add up.
    whole = learner[0] == engine[0]
    equal = all(abs(a - b) <= SAME * max(abs(a), abs(b), 1.0) for a, b in zip(learner, engine, strict=True))
    print(
        json.dumps(
            {
                "way": way,
                "seconds": seconds,
                "bytes": learner[0] * (4 if cfg.model.dtype == "float32" else 2),
                "learner (count, sum, squares)": learner,
                "engine (count, sum, squares)": engine,
                "equal": equal if whole else None,
            }
        )
    )


def _arguments(way: str, model: Path, folder: Path) -> list[str]:
    cluster = {"ipc": ["cluster=gpu_1_80gb"], "nccl": ["rollout=gpu", "learner=gpu_zero2"], "gloo": []}[way]
    return [
        *("recipe=grpo", "model=local", f"model.path={model}", *cluster, "steps=1", "learner.lr=1e-3"),
        *("model.max_length=96", "rollout.max_response_tokens=24", "learner.tokens_per_micro_batch=4096"),
        *("data.prompts_per_step=4", "rollout.samples_per_prompt=4", "learner.updates_per_step=1"),
        *("data.eval=[{name:arithmetic_heldout,limit:1}]", "run.export=false", "tracking.wandb=off"),
        *(f"run.root={folder}", f"run.name=push_{way}", "tracking.console=off", "rollout.kv_cache_mb=64"),
        *(("model.dtype=float32",) if way == "gloo" else ()),
    ]


if __name__ == "__main__":
    main()
