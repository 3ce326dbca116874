"""The engines as a flow drives them: one slice of the step loop after the other, each engine at its own pace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rlvr.cluster import outcomes
from rlvr.cluster.handles import Ref
from rlvr.errors import ActorError, DeadlineError, RlvrError
from rlvr.rollout.generation import Slice
from rlvr.rollout.pool import EnginePool
from rlvr.rollout.roster import Lives
from rlvr.rollout.sampling import Sampling
from rlvr.rollout.stepping import Request
from rlvr.timing import Patience

SLICE_SECONDS = 0.25  # a push waits this long at most, and a new request for a free slot


class Lanes(Protocol):
    """Engines that work through slices; at most one slice of an engine is under way."""

    def up(self) -> Lives:
        """The engines that can be asked; one whose life has changed has forgotten all that it was asked."""
        ...

    def returned(self) -> bool:
        """Whether an engine has started again and waits for weights."""
        ...

    def bring_back(self) -> None:
        """Give weights to those that wait for them; the learner must have nothing else to do."""
        ...

    def advance(self, engine: int, requests: Sequence[Request], cancelled: Sequence[str]) -> None:
        """Begin a slice."""
        ...

    def working(self) -> dict[int, float]:
        """Engines with a slice under way, and for how long it has been [s]."""
        ...

    def done(self, timeout: float) -> list[tuple[int, Slice]]:
        """Slices that have ended; waits for the first one so long. Engines that fail here are up no more.

        Raises:
            RlvrError: no engine is left, or a request was refused, as any engine would.
        """
        ...

    def tell(self, text: str) -> None:
        """A line for whoever watches the run."""
        ...


class RayLanes:
    """The engine actors."""

    def __init__(self, engines: EnginePool, sampling: Sampling, stall_seconds: float) -> None:
        self._engines, self._sampling, self._stall = engines, sampling, stall_seconds
        self._own: dict[str, Sampling] = {}  # of requests that have one, by key
        self._slices: dict[Ref[Slice], tuple[int, int, Patience]] = {}  # engine, its life, since when

    def up(self) -> Lives:
        return self._engines.roster.up()

    def returned(self) -> bool:
        return bool(self._engines.roster.returned())

    def bring_back(self) -> None:
        with self._engines.exclusive("weights for an engine that has started again"):
            self._engines.bring_back()

    def tell(self, text: str) -> None:
        self._engines.roster.say(text)

    def advance(self, engine: int, requests: Sequence[Request], cancelled: Sequence[str]) -> None:
        life = self.up().get(engine)
        if life is not None:
            self._own |= {request.key: request.sampling for request in requests if request.sampling}
            ref = self._engines.handles[engine].advance.remote(
                list(requests), list(cancelled), self._sampling, SLICE_SECONDS
            )
            self._slices[ref] = engine, life, Patience()

    def working(self) -> dict[int, float]:
        return {engine: watch.seconds for engine, _, watch in self._slices.values()}

    def done(self, timeout: float) -> list[tuple[int, Slice]]:
        """As in `Lanes`; an engine whose slice takes longer than rollout.stall_seconds has failed."""
        slices = []
        for ref, answer in outcomes(list(self._slices), timeout=timeout, what="generation"):
            engine, life, _ = self._slices.pop(ref)
            found = answer if isinstance(answer, RlvrError) else self._nonsense(engine, answer)
            if found is not None:
                self._lose(engine, life, found)
            elif not isinstance(answer, RlvrError):
                slices.append((engine, answer))
        for ref, (engine, life, watch) in list(self._slices.items()):
            if self.up().get(engine) != life:
                del self._slices[ref]  # lost elsewhere: in a push, or in an evaluation
            elif watch.seconds > self._stall:
                del self._slices[ref]
                late = f"engine-{engine} has not come back for {watch.seconds:.0f} s (rollout.stall_seconds)"
                self._lose(engine, life, DeadlineError(f"{late}: it is stuck or too slow; look at its log"))
        return slices

    def _nonsense(self, engine: int, answer: Slice) -> RlvrError | None:
        for key, generation in answer.finished:
            if why := self._engines.nonsense(generation, self._own.pop(key, self._sampling)):
                return ActorError(f"engine-{engine} answered nonsense to {key}, which is refused: {why}")
        return None

    def _lose(self, engine: int, life: int, why: RlvrError) -> None:
        if type(why) not in (ActorError, DeadlineError):
            raise why
        self._engines.roster.lose(engine, life, why)
