"""Which engines can be asked, which start again, and which are gone for good."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from rlvr.cluster import died_with_node, is_placed, kill, outcomes, room
from rlvr.cluster.handles import Ref
from rlvr.errors import DeadlineError, RlvrError
from rlvr.rollout.engine import EngineHandle
from rlvr.timing import Patience

log = logging.getLogger(__name__)
_POLL_SECONDS = 1.0
_CANCELLED = 3  # starts that end before they begin, at no cost to rollout.restarts
_ROOM_SECONDS = 30.0  # without a process before it is said; Ray misses a lost node within 20

Lives = dict[int, int]  # engine -> how often it has been started again


@dataclass(slots=True)
class _Start:
    """An engine that starts again."""

    ready: Ref[dict[str, str]]
    since: Patience = field(default_factory=Patience)
    unplaced: bool = False  # no node had room for it when it was last looked at
    cancelled: int = 0  # how often its process ended before it began


class Roster:
    """The engines, by number; one that is started again is another process under the same number.

    Safe to use from several threads. An engine that has started again has the weights of the model's folder: it is
    asked for nothing before `join`.
    """

    def __init__(
        self,
        spawn: Callable[[int], EngineHandle],
        count: int,
        *,
        restarts: int,  # of each engine; then the run goes on without it
        start_deadline_seconds: float,
        mendable: bool,  # False: any loss ends the run
    ) -> None:
        self.handles = [spawn(engine) for engine in range(count)]
        self.mendable = mendable
        self.say: Callable[[str], object] = log.warning
        self._spawn, self._start_deadline = spawn, start_deadline_seconds
        self._lock = threading.RLock()
        self._lives = dict.fromkeys(range(count), 0)
        self._left = dict.fromkeys(range(count), restarts)
        self._up = set(range(count))
        self._starting: dict[int, _Start] = {}
        self._last_loss: RlvrError | None = None  # of the engine after which there was none

    def up(self) -> Lives:
        """The engines that can be asked, in order."""
        with self._lock:
            return {engine: self._lives[engine] for engine in sorted(self._up)}

    def lose(self, engine: int, life: int, why: RlvrError, *, again: bool = True) -> None:
        """End an engine and start it again; nothing happens where that life of it has ended already.

        Raises:
            RlvrError: `why`, where it was the last one, or no engine can be replaced.
        """
        with self._lock:
            if self._lives[engine] != life:
                return
            if not self.mendable:
                self._last_loss = why
                raise why
            self._end(engine)
            if again and self._left[engine] > 0:
                self._left[engine] -= 1
                self._start(engine)
                becomes = f"started again, {self._left[engine]} more times at most (rollout.restarts)"
            else:
                becomes = "not started again" + " (rollout.restarts)" * again
            if not self._up and not self._starting:
                self._last_loss = why
                raise why
            self.say(f"WARNING engine-{engine} is lost and {becomes}; {len(self._up)} left. {why}")

    def replace_all(self, lives: Lives, why: str) -> None:
        """Start engines again through no fault of their own."""
        with self._lock:
            replaced = [engine for engine, life in lives.items() if self._lives[engine] == life]
            for engine in replaced:
                self._end(engine)
                self._start(engine)
        if replaced:
            names = ", ".join(f"engine-{engine}" for engine in replaced)
            self.say(f"WARNING {names} started again: {why}")

    def _end(self, engine: int) -> None:
        kill([self.handles[engine]])
        self._up.discard(engine)
        self._starting.pop(engine, None)
        self._lives[engine] += 1

    def _start(self, engine: int) -> None:
        self.handles[engine] = self._spawn(engine)
        self._starting[engine] = _Start(self.handles[engine].ready.remote())

    def returned(self, timeout: float = 0.0) -> Lives:
        """The engines that have started again and wait for weights; one that failed to do so is lost once more."""
        with self._lock:
            starting = {
                start.ready: (engine, self._lives[engine]) for engine, start in self._starting.items()
            }
        found: Lives = {}
        for ref, answer in outcomes(list(starting), timeout=timeout, what="restart of an engine"):
            engine, life = starting.pop(ref)
            if not isinstance(answer, RlvrError):
                found[engine] = life
            elif not self._was_cancelled(engine, life, answer):
                self.lose(engine, life, answer)
        for engine, life in starting.values():
            with self._lock:
                start = self._starting.get(engine) if self._lives[engine] == life else None
            if start is not None:
                others = [f"engine-{other}" for other, _ in starting.values() if other != engine]
                self._look_after(engine, life, start, bool(found), others)
        return found

    def _was_cancelled(self, engine: int, life: int, why: RlvrError) -> bool:
        """Start an engine once more whose process never began: Ray had asked a node for it that is lost."""
        if not died_with_node(why) or is_placed(f"engine-{engine}"):
            return False
        with self._lock:
            start = self._starting.get(engine)
            if start is None or self._lives[engine] != life or start.cancelled == _CANCELLED:
                return False
            self._end(engine)
            self._start(engine)
            self._starting[engine].cancelled = start.cancelled + 1
            self.say(f"engine-{engine} is started once more: {why}")
            return True

    def _look_after(self, engine: int, life: int, start: _Start, back: bool, others: list[str]) -> None:
        """Lose an engine that takes too long to start; without room for it wait for a node while others live or load.

        Ray is asked before the lock is taken: its answer may take as long as the loss of a node.
        """
        name, since, unplaced = f"engine-{engine}", start.since, start.unplaced
        late = since.seconds > self._start_deadline
        waits = unplaced or since.seconds > min(_ROOM_SECONDS, self._start_deadline)
        without = waits and not is_placed(name)
        has = room() if without and (late or not unplaced) else ""
        hope = without and late and (back or any(map(is_placed, others)))
        with self._lock:
            now = self._starting.get(engine)
            if now is not start or (start.since, start.unplaced) != (since, unplaced):
                return  # another thread has looked meanwhile
            if without:
                if late and not hope and not self._up:
                    why = (
                        f"no node had room for {name} for {self._start_deadline:g} s "
                        f"(rollout.start_deadline_seconds): the Ray cluster has {has}. Add a node, or resume with a "
                        "smaller rollout.engines"
                    )
                    self.lose(engine, life, DeadlineError(why), again=False)
                elif has:
                    start.since = Patience() if late else since
                    start.unplaced = True
                    self.say(
                        f"{name} has no process yet: the Ray cluster has {has}. It starts as soon as there is room "
                        f"for it; the run goes on with {len(self._up)} engine(s)"
                    )
            elif unplaced:  # its model is yet to be loaded
                start.since, start.unplaced = Patience(), False
            elif late:
                why = f"{name} did not start again within {self._start_deadline:g} s (rollout.start_deadline_seconds)"
                self.lose(engine, life, DeadlineError(why))

    def await_one(self) -> None:
        """Return once an engine can be asked, or has started again.

        Raises:
            RlvrError: none can and none will; the reason of the last loss, whichever thread met with it.
        """
        while not self.up() and not self.returned(_POLL_SECONDS):
            if self._last_loss is not None:
                raise self._last_loss

    def join(self, lives: Lives) -> None:
        """These engines have the learner's weights now."""
        with self._lock:
            for engine, life in lives.items():
                if self._lives[engine] == life:
                    self._starting.pop(engine, None)
                    self._up.add(engine)

    def call(self, deadline_seconds: float) -> None:
        """Have every engine answer; those that do not are lost."""
        if not self.mendable:
            return
        lives = self.up() | self.returned()
        refs = {self.handles[engine].ready.remote(): engine for engine in lives}
        answers = dict(outcomes(list(refs), timeout=deadline_seconds, what="roll call", for_all=True))
        silent = DeadlineError(f"it did not answer within {deadline_seconds:g} s (rollout.stall_seconds)")
        for ref, engine in refs.items():
            answer = answers.get(ref, silent)
            if isinstance(answer, RlvrError):
                self.lose(engine, lives[engine], answer)
