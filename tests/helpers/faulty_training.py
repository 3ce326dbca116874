"""`python -m tests.helpers.faulty_training`: rlvr.train with engines that fail when told to by a file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from rlvr.rollout import pool
from rlvr.rollout.engine import RolloutEngine
from rlvr.rollout.generation import Slice
from rlvr.rollout.sampling import Sampling
from rlvr.rollout.stepping import Request
from rlvr.train import main

FOLDER = "RLVR_TEST_FAULTS"  # environment variable
# Files. The first engine that finishes a response takes this one away and answers nonsense, ...
NONSENSE = "nonsense"
# ... and the first that is asked for tokens this one: its model raises in the middle of vLLM's step.
BROKEN_MODEL = "broken-model"


def taken(name: str) -> bool:
    """Whether this process, and no other, has found the file."""
    try:
        (Path(os.environ[FOLDER]) / name).unlink()
    except FileNotFoundError:
        return False
    return True


def out_of_range(*_: object) -> None:
    raise IndexError("planted: block table out of range")


class FaultyEngine(RolloutEngine):
    """The real engine, but for one answer whose log-probs are no numbers, or one forward pass that raises."""

    def advance(
        self, requests: Sequence[Request], cancelled: Sequence[str], sampling: Sampling, seconds: float
    ) -> Slice:
        """As in `RolloutEngine`."""
        if taken(BROKEN_MODEL):
            self._llm.apply_model(lambda model: model.register_forward_pre_hook(out_of_range) and None)
        done = super().advance(requests, cancelled, sampling, seconds)
        recorded = any(len(g.logprobs) for _, g in done.finished)  # those of an evaluation have none
        if not recorded or not taken(NONSENSE):
            return done
        broken = [(key, replace(g, logprobs=np.full_like(g.logprobs, np.nan))) for key, g in done.finished]
        return replace(done, finished=tuple(broken))


if __name__ == "__main__":
    pool.RolloutEngine = FaultyEngine  # what the pool spawns
    main()
