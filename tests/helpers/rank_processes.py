"""Processes of learner ranks that are used again: each would import torch and DeepSpeed anew for one small test."""

from __future__ import annotations

from typing import Any

from rlvr import cluster
from rlvr.learner.actor import Learner
from rlvr.learner.spec import LearnerSpec


class Rank(Learner):
    """A rank that can start over, as another learner, in the same process and process group."""

    def start_over(self, spec: LearnerSpec, rank: int) -> None:
        """What the constructor does; `start` follows, as after a constructor."""
        Learner.__init__(self, spec, rank)


class RankProcesses:
    """One process for every (world size, rank), started when a learner first asks for it."""

    def __init__(self) -> None:
        self._handles: dict[tuple[int, int], Any] = {}

    def spawn(self, actor_class: type, placement: cluster.Placement, spec: LearnerSpec, rank: int) -> Any:
        """In the place of `cluster.spawn` in rlvr.learner.group."""
        assert actor_class is Learner
        key = (spec.cfg.learner.workers, rank)
        if key in self._handles:
            self._handles[key].start_over.remote(spec, rank)  # a process does its calls in their order
        else:
            self._handles[key] = cluster.spawn(Rank, placement, spec, rank)
        return self._handles[key]

    def end(self) -> None:
        """End the processes."""
        cluster.kill(list(self._handles.values()))
