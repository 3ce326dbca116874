"""Where the loop's batches come from: collected on the spot, or ahead of the learner within a bound.

Synchronous, one-step-off and asynchronous training differ only here.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Protocol

from rlvr.errors import DeadlineError
from rlvr.types import RolloutBatch

Collect = Callable[[int, int], RolloutBatch]  # (step, data position) -> the step's groups


class BatchSource(Protocol):
    """Hands out the batch of each step, in order."""

    def next(self, step: int) -> RolloutBatch:
        """The batch of this step."""
        ...

    def trained(self, step: int) -> None:
        """Told after each update, when the engines hold the weights of that step."""
        ...

    def close(self) -> None:
        """Stop collecting."""
        ...


class SyncSource:
    """Generates when asked: every batch comes from the weights that it updates."""

    def __init__(self, collect: Collect, position: int) -> None:
        self._collect, self._position = collect, position

    def next(self, step: int) -> RolloutBatch:
        batch = self._collect(step, self._position)
        self._position = batch.data_position
        return batch

    def trained(self, step: int) -> None:
        """Nothing runs ahead, so nothing waits for this."""

    def close(self) -> None:
        """Nothing runs in the background."""


class AheadSource:
    """Generates in a thread, at most `staleness` steps ahead of the learner."""

    def __init__(
        self,
        collect: Collect,
        *,
        position: int,
        first_step: int,
        last_step: int,
        staleness: int,
        deadline_seconds: float,
    ) -> None:
        self._collect, self._deadline = collect, deadline_seconds
        self._ready: queue.Queue[RolloutBatch | BaseException] = queue.Queue()
        self._permits = threading.Semaphore(staleness + 1)
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(position, first_step, last_step), name="rollout-ahead", daemon=True
        )
        self._thread.start()

    def _run(self, position: int, first_step: int, last_step: int) -> None:
        try:
            for step in range(first_step, last_step + 1):
                self._permits.acquire()
                if self._stop.is_set():
                    return
                batch = self._collect(step, position)
                position = batch.data_position
                self._ready.put(batch)
        except BaseException as error:  # handed to the loop, which raises it
            self._ready.put(error)

    def next(self, step: int) -> RolloutBatch:
        try:
            batch = self._ready.get(timeout=self._deadline)
        except queue.Empty:
            raise DeadlineError(
                f"step {step}: no batch was collected within {self._deadline:g} s (rollout.deadline_seconds)"
            ) from None
        if isinstance(batch, BaseException):
            raise batch
        return batch

    def trained(self, step: int) -> None:
        self._permits.release()

    def close(self) -> None:
        self._stop.set()
        self._permits.release()
        self._thread.join(timeout=1.0)
