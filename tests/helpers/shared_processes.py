"""Processes of ranks and engines that are used again: each would import torch and its library anew for a small test."""

from __future__ import annotations

import gc
from dataclasses import replace
from typing import Any

from rlvr import cluster
from rlvr.learner.actor import Learner
from rlvr.learner.spec import LearnerSpec
from rlvr.rollout.engine import RolloutEngine
from rlvr.rollout.engine_spec import EngineSpec


class Rank(Learner):
    """A rank that can start over, as another learner, in the same process and process group."""

    def start_over(self, spec: LearnerSpec, rank: int) -> None:
        """What the constructor does; `start` follows, as after a constructor."""
        Learner.__init__(self, spec, rank)


class Engine(RolloutEngine):
    """An engine that can start over with another model."""

    def start_over(self, spec: EngineSpec) -> None:
        """What the constructor does, once the old model is gone: vLLM takes its groups down with it."""
        del self._loop, self._llm
        gc.collect()
        RolloutEngine.__init__(self, spec)


KINDS: dict[type, type] = {Learner: Rank, RolloutEngine: Engine}


class SharedProcesses:
    """One process for every engine and every (world size, rank, threads), started when somebody first asks for it."""

    def __init__(self) -> None:
        self._handles: dict[tuple[str, int, int], Any] = {}

    def spawn(self, actor_class: type, placement: cluster.Placement, spec: Any, *rank: int) -> Any:
        """In the place of `cluster.spawn` in rlvr.learner.group and rlvr.rollout.pool."""
        key = (placement.name, placement.threads, spec.world_size if actor_class is Learner else 0)
        if actor_class is RolloutEngine:  # eager, they compile nothing on a CPU, whatever the model
            placement = replace(placement, env={**placement.env, "CXX": "no-compiler"})
        if key in self._handles:
            self._handles[key].start_over.remote(spec, *rank)  # a process does its calls in their order
        else:
            self._handles[key] = cluster.spawn(KINDS[actor_class], placement, spec, *rank)
        return self._handles[key]

    def end(self) -> None:
        """End the processes."""
        cluster.kill(list(self._handles.values()))
