"""Batches from a flow: engines generate all the time, groups are graded as they finish, batches form within the bound.

A thread carries events to the pure scheduler (`rlvr.rollout.streaming`) and its actions to the engines. The loop only
asks for batches, and pauses the flow while it pushes weights.
"""

from __future__ import annotations

import queue
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from rlvr.cluster import interrupts
from rlvr.config import Config
from rlvr.errors import DeadlineError
from rlvr.rollout.collect import is_kept
from rlvr.rollout.flow.assignments import Assignments
from rlvr.rollout.flow.feed import PromptFeed
from rlvr.rollout.flow.growing import GrowingGroups
from rlvr.rollout.flow.lanes import Lanes
from rlvr.rollout.flow.readings import FlowReadings
from rlvr.rollout.roster import Lives
from rlvr.rollout.stepping import Request
from rlvr.rollout.streaming.records import Action, Cancel, Release, Submit
from rlvr.rollout.streaming.scheduler import Scheduler
from rlvr.seeding import derived_seed
from rlvr.timing import Deadline
from rlvr.types import Group, RolloutBatch

T = TypeVar("T")
_POLL_SECONDS = 0.02  # how long an event of the loop may wait while engines work
_LOOK_SECONDS = 0.5  # how often a loop that waits for a batch looks after engines that have started again


@dataclass(slots=True)
class _Spent:
    """What went into the groups since the last batch."""

    engine_seconds: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    grading_seconds: float = 0.0  # until then


class FlowSource:
    """Hands out batches that a flow has formed; see `rlvr.rollout.source.BatchSource`."""

    def __init__(
        self,
        lanes: Lanes,
        scheduler: Scheduler,
        growing: GrowingGroups,
        feed: PromptFeed,
        cfg: Config,
        *,
        version: int,  # of the weights that the engines have
        keep: Callable[[int, Group], None] = lambda place, group: None,  # told of every finished group
        restored: Mapping[int, tuple[int, Group]] | None = None,  # by number, with the place in the stream
    ) -> None:
        self._lanes, self._scheduler, self._growing, self._feed = lanes, scheduler, growing, feed
        self._cfg, self._version = cfg, version
        self._orders: queue.SimpleQueue[Callable[[], list[Action]]] = queue.SimpleQueue()
        self._batches: queue.SimpleQueue[RolloutBatch | BaseException] = queue.SimpleQueue()
        self._readings = FlowReadings(
            scheduler,
            growing,
            begin=lambda begin: self._orders.put(lambda: begin(self._version)),
            wait=partial(self._await, seconds=cfg.rollout.deadline_seconds),
        )
        self._keep, restored = keep, restored or {}
        # Of groups that are in no batch yet: places in the stream, and those that are decided.
        self._places = {number: place for number, (place, _) in restored.items()}
        self._decided = {number: group for number, (_, group) in restored.items()}
        self._up: Lives = {}  # engines, as the scheduler knows of them
        self._assigned = Assignments()
        self._spent = _Spent()
        self._failure: BaseException | None = None  # what ended the thread, until the loop knows
        self._pausing, self._quiet, self._stop = threading.Event(), threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="rollout-flow", daemon=True)
        self._thread.start()

    # Called by the loop.

    def next(self, step: int) -> RolloutBatch:
        """The batch of this step."""
        self._orders.put(partial(self._scheduler.wanted, step))
        seconds = self._cfg.rollout.deadline_seconds * self._cfg.rollout.max_rounds
        limit = "rollout.deadline_seconds times rollout.max_rounds"
        return self._await(self._batches, f"step {step}: no batch was formed within", limit, seconds=seconds)

    def _await(
        self, found: queue.SimpleQueue[T | BaseException], what: str, limit: str, *, seconds: float
    ) -> T:
        deadline = Deadline(seconds)
        while True:
            interrupts.check()
            try:
                answer = found.get(timeout=min(deadline.left, _LOOK_SECONDS))
            except queue.Empty:
                if deadline.passed:
                    raise DeadlineError(f"{what} {seconds:g} s ({limit}); {self._pending()}") from None
                if self._lanes.returned():  # the learner waits, too: its weights are those of the last push
                    self._lanes.bring_back()
                continue
            if isinstance(answer, BaseException):
                self._failure = None
                raise answer
            return answer

    @property
    def beside(self) -> FlowReadings | None:
        """What evaluates beside the batches, unless eval.in_stream=never."""
        return self._readings if self._cfg.eval.in_stream == "auto" else None

    def trained(self, step: int) -> None:
        """The engines hold the weights of this step."""
        self._orders.put(partial(self._pushed, step))

    @contextmanager
    def paused(self, what: str) -> Iterator[None]:
        """Nothing is generated inside; rollout.on_update=wait finishes first what is under way.

        Raises:
            BaseException: what has ended the flow meanwhile.
        """
        if self._failure is not None:
            raise self._failure
        if self._pausing.is_set():  # inside another one
            yield
            return
        self._quiet.clear()
        self._pausing.set()
        seconds = self._cfg.rollout.deadline_seconds
        try:
            if self._thread.is_alive() and not Deadline(seconds).allows(self._quiet.wait):
                raise DeadlineError(
                    f"{what}: generation did not pause within {seconds:g} s; {self._pending()}"
                )
            yield
        finally:
            self._pausing.clear()

    def close(self) -> None:
        """Stop; what is under way is dropped."""
        self._stop.set()
        self._thread.join(timeout=5.0)
        self._growing.close()

    # Everything below runs in the thread.

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._follow_engines()
                self._obey()
                self._begin_slices()
                if not self._lanes.working():
                    self._stop.wait(_POLL_SECONDS)
                self._end_slices()
                self._end_grading()
                self._watch()
        except BaseException as error:  # handed to the loop, which raises it
            self._failure = error
            self._batches.put(error)
            self._readings.answers.put(error)
        finally:
            self._quiet.set()

    def _follow_engines(self) -> None:
        """Tell the scheduler which engines are gone, whose samples run again elsewhere, and which are there."""
        now = self._lanes.up()
        for engine in [engine for engine, life in self._up.items() if now.get(engine) != life]:
            del self._up[engine]
            self._assigned.lost(engine)
            self._follow(self._scheduler.engine_down(engine))
        for engine in sorted(now.keys() - self._up.keys()):
            self._up[engine] = now[engine]
            self._follow(self._scheduler.engine_up(engine, self._version))

    def _pushed(self, version: int) -> list[Action]:
        self._version = version
        return [action for engine in self._up for action in self._scheduler.pushed(engine, version)]

    def _obey(self) -> None:
        while not self._orders.empty():
            self._follow(self._orders.get()())

    def _begin_slices(self) -> None:
        working = self._lanes.working()
        pausing = self._pausing.is_set()
        draining = pausing and self._cfg.rollout.on_update == "wait"
        if not pausing:
            self._assigned.clock.resume()
        for engine in self._up.keys() - working.keys():
            if pausing and not draining:
                continue
            if told := self._assigned.take(engine, fresh=not draining):
                self._lanes.advance(engine, *told)
        if pausing and not self._lanes.working():
            self._assigned.clock.pause()  # however long an evaluation takes, no engine has stopped
            self._quiet.set()

    def _end_slices(self) -> None:
        for engine, slice_ in self._lanes.done(_POLL_SECONDS):
            self._spent.engine_seconds[engine] += slice_.seconds
            finished = [answer for answer in slice_.finished if self._assigned.holds(engine, answer[0])]
            if finished:
                self._growing.add(finished)
            for key, _ in finished:
                self._assigned.finished(engine, key)
                self._follow(self._scheduler.finished(engine, *self._growing.member(key)))

    def _end_grading(self) -> None:
        for number, group in self._growing.decided():
            if number < 0:
                self._follow(self._readings.graded(number, group))
                continue
            self._decided[number] = group
            self._keep(self._places[number], group)
            self._follow(self._scheduler.graded(number, signal=is_kept(group, self._cfg)))

    def _watch(self) -> None:
        """Say what an engine holds that has finished nothing for half of rollout.stall_seconds."""
        if self._pausing.is_set() and self._quiet.is_set():
            return
        for engine, quiet, held in self._assigned.overdue(self._up, self._cfg.rollout.stall_seconds / 2):
            heard = self._lanes.working().get(engine)
            asked = "is not asked" if heard is None else f"was last heard of {heard:.0f} s ago"
            self._lanes.tell(
                f"WARNING engine-{engine} (weight version {self._version}) {asked} and has finished nothing for "
                f"{quiet:.0f} s; it holds {_some(held)}"
            )

    def _follow(self, actions: Sequence[Action]) -> None:
        for action in actions:
            if isinstance(action, Submit):
                self._submit(action)
            elif isinstance(action, Cancel):
                self._assigned.cancel(action.engine, [self._key(action.group, i) for i in action.samples])
            else:
                self._batches.put(self._batch(action))
                if action.step == self._cfg.steps:  # nobody waits for what still runs
                    self._follow(self._scheduler.stopped())

    def _submit(self, action: Submit) -> None:
        if action.group not in self._growing:
            self._places[action.group], prompt = self._feed.next()
            self._growing.begin(action.group, prompt, self._cfg.rollout.samples_per_prompt)
        for i in action.samples:
            request = self._request(action.group, i)
            self._growing.expect(request.key, action.group, i)
            self._assigned.assign(action.engine, request)

    def _request(self, group: int, i: int) -> Request:
        if group < 0:
            return self._readings.request(group, i)
        prompt = self._growing.prompt(group)
        seed = derived_seed(self._cfg.seed, "flow", prompt.id)
        return Request(self._key(group, i), prompt.token_ids, seed + i)

    def _key(self, group: int, i: int) -> str:
        return f"{self._places[group]}/{self._growing.prompt(group).id}/{i}"

    def _batch(self, release: Release) -> RolloutBatch:
        groups = tuple(self._decided.pop(number) for number in release.groups)
        dropped = tuple(self._decided.pop(number) for number in release.dropped)
        spent, self._spent = self._spent, _Spent(grading_seconds=self._growing.seconds)
        every = groups + dropped
        for number in (*release.groups, *release.dropped):
            del self._places[number]
        skipped = self._feed.learn(every)
        return RolloutBatch(
            groups=groups,
            dropped=dropped,
            data_position=self._feed.position,
            skipped=skipped,
            successes=self._feed.known,
            prompts_drawn=len(every),
            prompts_kept=sum(is_kept(group, self._cfg) for group in every),
            rounds=release.rounds,
            short_of=release.short_of,
            generated_tokens=sum(len(s.token_ids) for g in every for s in g.samples),
            seconds={
                "generate": max(spent.engine_seconds.values(), default=0.0),
                "reward": self._growing.seconds - spent.grading_seconds,
            },
            pending=(*(self._places[number] for number in release.pending), *self._feed.waiting),
        )

    def _pending(self) -> str:
        """What is under way, for a message of the loop."""
        shown = _some(self._growing.pending())
        return f"under way: {shown or 'nothing'}; engines hold weight version {self._version}"


def _some(keys: Sequence[str]) -> str:
    return ", ".join(keys[:5]) + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")
