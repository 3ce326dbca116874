"""The learner's remote control of the engines during a weight update.

Has the four methods of vLLM's `VLLMWeightSyncClient` protocol, so vLLM's own NCCL and IPC senders drive the
engines through it as ours does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from rlvr.cluster import wait
from rlvr.cluster.handles import Ref, RemoteMethod
from rlvr.sync.checksum import LoadedWeights

R = TypeVar("R")


class TransferHandle(Protocol):
    """An engine in its actor, as far as a weight update calls it."""

    @property
    def init_weight_transfer_engine(self) -> RemoteMethod[None]: ...

    @property
    def held_copies(self) -> RemoteMethod[list[str | None]]: ...

    @property
    def start_weight_update(self) -> RemoteMethod[None]: ...

    @property
    def update_weights(self) -> RemoteMethod[None]: ...

    @property
    def finish_weight_update(self) -> RemoteMethod[LoadedWeights]: ...


class EngineClient:
    """Calls all engines together and waits for them, each time with a deadline."""

    def __init__(
        self, engines: Sequence[TransferHandle], tensor_parallel: int, deadline_seconds: float
    ) -> None:
        self._engines = list(engines)
        self._tensor_parallel = tensor_parallel
        self._deadline = deadline_seconds
        self.version = 0  # handed to the engines by the next finish_weight_update
        self.loaded: list[LoadedWeights] = []  # by engine, in the last update

    @property
    def workers(self) -> int:
        """Receiving processes of all engines together."""
        return len(self._engines) * self._tensor_parallel

    def _wait(self, refs: Sequence[Ref[R]], phase: str) -> list[R]:
        what = f"weight transfer to the engines, phase '{phase}'"
        return wait(refs, deadline_seconds=self._deadline, what=what, key="sync.deadline_seconds")

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        refs = []
        for number, engine in enumerate(self._engines):
            info = dict(init_info)
            if "rank_offset" in info:  # each engine's workers take the next ranks of the transfer group
                info["rank_offset"] += number * self._tensor_parallel
            refs.append(engine.init_weight_transfer_engine.remote(info))
        self._wait(refs, "rendezvous")

    def held_copies(self) -> set[str | None]:
        """The names of the pushes of which the engines' workers hold a copy; None: one holds none."""
        found = self._wait([e.held_copies.remote() for e in self._engines], "look for what they hold")
        return {name for workers in found for name in workers}

    def start_weight_update(self) -> None:
        self._wait([e.start_weight_update.remote() for e in self._engines], "start")

    def update_weights(self, update_info: Any) -> None:
        self._wait([e.update_weights.remote(update_info) for e in self._engines], "receive")

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        self.loaded = self._wait(
            [e.finish_weight_update.remote(self.version) for e in self._engines], "finish"
        )
