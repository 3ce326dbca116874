"""`python -m tests.helpers.faulty_training`: rlvr.train with engines that answer nonsense when told to by a file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from rlvr.rollout import pool
from rlvr.rollout.engine import RolloutEngine, Sampling, Slice
from rlvr.rollout.stepping import Request
from rlvr.train import main

FOLDER = "RLVR_TEST_FAULTS"  # environment variable
WAY = "nonsense"  # the file: the first engine that finishes a response takes it away and answers nonsense


class FaultyEngine(RolloutEngine):
    """The real engine, but for one answer whose log-probs are no numbers."""

    def advance(
        self, requests: Sequence[Request], cancelled: Sequence[str], sampling: Sampling, seconds: float
    ) -> Slice:
        """As in `RolloutEngine`."""
        done = super().advance(requests, cancelled, sampling, seconds)
        order = Path(os.environ[FOLDER]) / WAY
        if not done.finished or not order.exists():
            return done
        order.unlink(missing_ok=True)
        broken = [(key, replace(g, logprobs=np.full_like(g.logprobs, np.nan))) for key, g in done.finished]
        return replace(done, finished=tuple(broken))


if __name__ == "__main__":
    pool.RolloutEngine = FaultyEngine  # what the pool spawns
    main()
