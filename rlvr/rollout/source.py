"""Where the loop's batches come from: collected on the spot, or from a flow (`rlvr.rollout.flow.source`).

Synchronous and asynchronous training differ only here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from rlvr.rollout.flow.readings import Question, Reading
from rlvr.types import RolloutBatch

Collect = Callable[[int, int], RolloutBatch]  # (step, data position) -> the step's groups


class Beside(Protocol):
    """Samples and grades evaluations beside the batches."""

    @property
    def reading(self) -> Collection[int]:
        """The steps after which evaluations were asked for that are not handed over yet."""
        ...

    def read(self, step: int, questions: Sequence[Question]) -> None:
        """Ask for an evaluation after this step, on the weights that it left or later ones."""
        ...

    def answered(self, *, wait: bool = False) -> list[Reading]:
        """The evaluations that are done since the last call; with `wait` all that are under way.

        Raises:
            DeadlineError: one was not done within rollout.deadline_seconds after the one before.
        """
        ...


class BatchSource(Protocol):
    """Hands out the batch of each step, in order."""

    @property
    def beside(self) -> Beside | None:
        """What evaluates beside the batches; None: the engines are to be asked while nothing else is generated."""
        ...

    def next(self, step: int) -> RolloutBatch:
        """The batch of this step."""
        ...

    def trained(self, step: int) -> None:
        """Told after each push, when the engines hold the weights of that step."""
        ...

    def paused(self, what: str) -> AbstractContextManager[None]:
        """Nothing is generated inside, so that weights can change."""
        ...

    def close(self) -> None:
        """Stop collecting."""
        ...


class SyncSource:
    """Generates when asked: every batch comes from the weights that it updates."""

    beside = None

    def __init__(self, collect: Collect, position: int) -> None:
        self._collect, self._position = collect, position

    def next(self, step: int) -> RolloutBatch:
        batch = self._collect(step, self._position)
        self._position = batch.data_position
        return batch

    def trained(self, step: int) -> None:
        """Nothing runs ahead, so nothing waits for this."""

    def paused(self, what: str) -> AbstractContextManager[None]:
        """Nothing is generated between two batches."""
        return nullcontext()

    def close(self) -> None:
        """Nothing runs in the background."""
