"""The engines as a flow drives them: one slice of the step loop after the other, each engine at its own pace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rlvr.cluster import first_done
from rlvr.cluster.handles import Ref
from rlvr.errors import DeadlineError
from rlvr.rollout.engine import EngineHandle, Sampling, Slice
from rlvr.rollout.stepping import Request
from rlvr.timing import Stopwatch

SLICE_SECONDS = 0.25  # a push waits this long at most, and a new request for a free slot


class Lanes(Protocol):
    """Engines that work through slices; at most one slice of an engine is under way."""

    @property
    def count(self) -> int: ...

    def advance(self, engine: int, requests: Sequence[Request], cancelled: Sequence[str]) -> None:
        """Begin a slice."""
        ...

    def working(self) -> set[int]:
        """Engines with a slice under way."""
        ...

    def done(self, timeout: float) -> list[tuple[int, Slice]]:
        """Slices that have ended; waits for the first one so long."""
        ...


class RayLanes:
    """The engine actors."""

    def __init__(self, handles: Sequence[EngineHandle], sampling: Sampling, deadline_seconds: float) -> None:
        self._handles, self._sampling, self._deadline = handles, sampling, deadline_seconds
        self._slices: dict[Ref[Slice], tuple[int, Stopwatch]] = {}

    @property
    def count(self) -> int:
        return len(self._handles)

    def advance(self, engine: int, requests: Sequence[Request], cancelled: Sequence[str]) -> None:
        ref = self._handles[engine].advance.remote(
            list(requests), list(cancelled), self._sampling, SLICE_SECONDS
        )
        self._slices[ref] = engine, Stopwatch()

    def working(self) -> set[int]:
        return {engine for engine, _ in self._slices.values()}

    def done(self, timeout: float) -> list[tuple[int, Slice]]:
        """As in `Lanes`.

        Raises:
            DeadlineError: a slice has taken longer than rollout.deadline_seconds.
            ActorError, RemoteError: an engine died, or vLLM raised.
        """
        ended = first_done(list(self._slices), timeout=timeout, what="generation")
        slices = [(self._slices.pop(ref)[0], result) for ref, result in ended]
        for engine, watch in self._slices.values():
            if watch.seconds > self._deadline:
                raise DeadlineError(
                    f"engine-{engine} has not come back for {watch.seconds:.0f} s (rollout.deadline_seconds is "
                    f"{self._deadline:g}): it is stuck or too slow; look at its log"
                )
        return slices
