"""A discrete-event simulation of rollouts under the scheduler, or under batch dispatch.

An engine advances its running samples together: one token of each takes `token_seconds` plus `load_seconds` a sample.
What it has no slot for waits there in order. Grading takes no time; an update takes `update_seconds`, and a push
pauses the engines for `push_seconds`. Times are simulated seconds.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from rlvr.rollout.streaming.records import Action, Cancel, Release, Submit
from rlvr.rollout.streaming.scheduler import Scheduler

Length = Callable[[random.Random], int]  # tokens of one response


@dataclass(frozen=True, slots=True)
class World:
    """What the simulated machines and responses are like."""

    engines: int
    slots: int  # samples that an engine advances together
    length: Length
    steps: int
    signal: float = 1.0  # share of groups that carry one
    token_seconds: float = 0.02
    load_seconds: float = 0.0
    update_seconds: float = 60.0
    push_seconds: float = 1.0
    mean_seconds_to_failure: float | None = None  # of one engine
    restart_seconds: float = 60.0
    read_every: int = 0  # steps after which an evaluation is asked for, but not after the last; 0: none
    reading: tuple[int, ...] = ()  # samples of each of its groups
    seed: int = 0


@dataclass(slots=True)
class Engine:
    """One engine, in its own clock of decoded tokens."""

    alive: bool = True
    tokens: float = 0.0  # decoded by a sample that runs since the start
    since: float = 0.0  # the time at which `tokens` was true
    paused_until: float = 0.0
    # heap of (ends at this token, group, sample)
    running: list[tuple[float, int, int]] = field(default_factory=list)
    waiting: deque[tuple[int, int]] = field(default_factory=deque)  # (group, sample)
    busy: float = 0.0  # slot-seconds
    due: int = 0  # number of the event at which its next sample is finished; earlier ones are outdated

    @property
    def idle(self) -> bool:
        """Whether it lives and has nothing to do."""
        return self.alive and not self.running and not self.waiting


@dataclass(frozen=True, slots=True)
class SimulatedRun:
    """What happened."""

    seconds: float
    releases: tuple[Release, ...]
    started: dict[tuple[int, int], list[int]]  # (group, sample) -> versions of the weights it was started on
    finished: Counter[tuple[int, int]]  # (group, sample) -> times an engine finished it
    slot_use: float  # share of all slot-seconds in which a token was generated
    failures: int
    read: dict[int, tuple[int, ...]] = field(
        default_factory=dict
    )  # step of an evaluation -> its groups, once graded

    @property
    def kept(self) -> int:
        """Groups trained on."""
        return sum(len(r.groups) for r in self.releases)


class Simulation:
    """One run, from the first request until the last batch is trained on."""

    def __init__(self, world: World, scheduler: Scheduler) -> None:
        self.world, self.scheduler = world, scheduler
        self.now, self.version, self.failures = 0.0, 0, 0
        self.trained = 0
        self.engines = [Engine() for _ in range(world.engines)]
        self.releases: list[Release] = []
        self.started: dict[tuple[int, int], list[int]] = {}
        self.finished: Counter[tuple[int, int]] = Counter()
        self.random = random.Random(world.seed)
        self.read: dict[int, tuple[int, ...]] = {}
        self._unread: set[int] = set()  # groups of evaluations under way
        self._events: list[tuple[float, int, Callable[[int], None]]] = []
        self._numbers = itertools.count(1)

    def run(self) -> SimulatedRun:
        """Simulate; raises RuntimeError where nothing more could happen before the end."""
        for number in range(self.world.engines):
            self._do(self.scheduler.engine_up(number, 0))
            self._fail_later(number)
        self._do(self.scheduler.wanted(1))
        while self.trained < self.world.steps or self._unread:
            over = self.trained == self.world.steps and all(engine.idle for engine in self.engines)
            if over or not self._events:
                raise RuntimeError(f"nothing is under way at {self.now:g} s, after {self.trained} steps")
            self.now, event, happen = heapq.heappop(self._events)
            happen(event)
        for engine in self.engines:
            self._advance(engine)
        slots = self.now * self.world.slots * self.world.engines
        use = sum(e.busy for e in self.engines) / slots
        return SimulatedRun(
            self.now, tuple(self.releases), self.started, self.finished, use, self.failures, self.read
        )

    def _at(self, when: float, happen: Callable[[int], None]) -> int:
        number = next(self._numbers)
        heapq.heappush(self._events, (when, number, happen))
        return number

    def _do(self, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Submit):
                self._submit(action)
            elif isinstance(action, Cancel):
                self._cancel(action)
            else:
                self.releases.append(action)
                self._at(self.now + self.world.update_seconds, self._push)
                if action.step == self.world.steps and self._unread:
                    self._do(self.scheduler.stopped())

    def _submit(self, action: Submit) -> None:
        for sample in action.samples:
            self.started.setdefault((action.group, sample), []).append(self.version)
            self.engines[action.engine].waiting.append((action.group, sample))
        self._fill(action.engine)

    def _cancel(self, action: Cancel) -> None:
        engine = self.engines[action.engine]
        self._advance(engine)
        gone = {(action.group, sample) for sample in action.samples}
        engine.running = [entry for entry in engine.running if entry[1:] not in gone]
        heapq.heapify(engine.running)
        engine.waiting = deque(entry for entry in engine.waiting if entry not in gone)
        engine.due = 0
        self._fill(action.engine)

    def _push(self, event: int) -> None:
        for number, engine in enumerate(self.engines):
            self._advance(engine)
            engine.paused_until = self.now + self.world.push_seconds
            self._schedule(number)
        self._at(self.now + self.world.push_seconds, self._pushed)

    def _pushed(self, event: int) -> None:
        self.version += 1
        self.trained += 1
        for number, engine in enumerate(self.engines):
            if engine.alive:
                self._do(self.scheduler.pushed(number, self.version))
        if self.trained < self.world.steps:
            if self.world.read_every and self.trained % self.world.read_every == 0:
                self._read()
            self._do(self.scheduler.wanted(self.trained + 1))

    def _read(self) -> None:
        groups, actions = self.scheduler.ask(self.world.reading, self.version)
        self.read[self.trained] = tuple(groups)
        self._unread |= set(groups)
        self._do(actions)

    def _rate(self, engine: Engine) -> float:
        """Tokens a second of each sample that runs."""
        return 1.0 / (self.world.token_seconds + self.world.load_seconds * len(engine.running))

    def _advance(self, engine: Engine) -> None:
        """Bring an engine's clock to now."""
        seconds = max(0.0, self.now - max(engine.since, engine.paused_until))
        engine.since = self.now
        if engine.running:
            engine.tokens += seconds * self._rate(engine)
            engine.busy += seconds * len(engine.running)

    def _fill(self, number: int) -> None:
        """Start what waits for a slot."""
        engine = self.engines[number]
        self._advance(engine)
        while engine.waiting and len(engine.running) < self.world.slots:
            group, sample = engine.waiting.popleft()
            length = self.world.length(random.Random(f"{self.world.seed}/{group}/{sample}"))
            heapq.heappush(engine.running, (engine.tokens + length, group, sample))
        self._schedule(number)

    def _schedule(self, number: int) -> None:
        engine = self.engines[number]
        if engine.running:
            seconds = (engine.running[0][0] - engine.tokens) / self._rate(engine)
            engine.due = self._at(
                max(self.now, engine.paused_until) + max(0.0, seconds),
                lambda event: self._finish(number, event),
            )

    def _finish(self, number: int, event: int) -> None:
        engine = self.engines[number]
        if engine.due != event:
            return
        self._advance(engine)
        _, group, sample = heapq.heappop(engine.running)
        self.finished[group, sample] += 1
        self._fill(number)
        self._do(self.scheduler.finished(number, group, sample))
        if not self.scheduler.complete(group):
            return
        if group < 0:
            self._unread.remove(group)
            self._do(self.scheduler.answered(group))
        else:
            signal = random.Random(f"{self.world.seed}/{group}").random() < self.world.signal
            self._do(self.scheduler.graded(group, signal=signal))

    def _fail_later(self, number: int) -> None:
        if mean := self.world.mean_seconds_to_failure:
            self._at(self.now + self.random.expovariate(1 / mean), lambda event: self._fail(number))

    def _fail(self, number: int) -> None:
        self.failures += 1
        self._advance(self.engines[number])
        self.engines[number] = Engine(alive=False, since=self.now, busy=self.engines[number].busy)
        self._do(self.scheduler.engine_down(number))
        self._at(self.now + self.world.restart_seconds, lambda event: self._restart(number))

    def _restart(self, number: int) -> None:
        self.engines[number].alive = True
        self._do(self.scheduler.engine_up(number, self.version))
        self._fail_later(number)
