"""Batches from a flow: engines generate all the time, groups are graded as they finish, batches form within the bound.

A thread carries events to the pure scheduler (`rlvr.rollout.streaming`) and its actions to the engines. The loop only
asks for batches, and pauses the flow while it pushes weights.
"""

from __future__ import annotations

import queue
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from rlvr.config import Config
from rlvr.errors import DeadlineError
from rlvr.reward.pool import GraderPool
from rlvr.reward.score import score_samples
from rlvr.reward.verdict import Verdict
from rlvr.rollout.collect import has_signal
from rlvr.rollout.engine import Generation
from rlvr.rollout.feed import PromptFeed
from rlvr.rollout.lanes import Lanes
from rlvr.rollout.pool import samples_of
from rlvr.rollout.stepping import Request
from rlvr.rollout.streaming.records import Action, Cancel, Release, Submit
from rlvr.rollout.streaming.scheduler import Scheduler
from rlvr.seeding import derived_seed
from rlvr.timing import Stopwatch
from rlvr.types import Group, Prompt, RolloutBatch, Sample, Tokenizer

_POLL_SECONDS = 0.02  # how long an event of the loop may wait while engines work


@dataclass(slots=True)
class _Growing:
    """A group whose samples come in one by one."""

    prompt: Prompt
    samples: dict[int, Sample] = field(default_factory=dict)
    verdicts: dict[str, Verdict] = field(default_factory=dict)


@dataclass(slots=True)
class _Spent:
    """What went into the groups since the last batch."""

    engine_seconds: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    grading_seconds: float = 0.0


class FlowSource:
    """Hands out batches that a flow has formed; see `rlvr.rollout.source.BatchSource`."""

    def __init__(
        self,
        lanes: Lanes,
        scheduler: Scheduler,
        graders: GraderPool,
        feed: PromptFeed,
        tokenizer: Tokenizer,
        cfg: Config,
        *,
        version: int,  # of the weights that the engines have
    ) -> None:
        self._lanes, self._scheduler, self._graders, self._feed = lanes, scheduler, graders, feed
        self._tokenizer, self._cfg, self._version = tokenizer, cfg, version
        self._orders: queue.SimpleQueue[Callable[[], list[Action]]] = queue.SimpleQueue()
        self._batches: queue.SimpleQueue[RolloutBatch | BaseException] = queue.SimpleQueue()
        self._growing: dict[int, _Growing] = {}
        self._places: dict[int, int] = {}  # of groups that are in no batch yet, in the stream
        self._decided: dict[int, Group] = {}
        self._requests: dict[int, list[Request]] = defaultdict(list)
        self._cancelled: dict[int, list[str]] = defaultdict(list)
        self._running: dict[int, int] = defaultdict(int)  # engine -> requests that it has not finished
        self._where: dict[str, tuple[int, int]] = {}  # request -> group and place in it
        self._grading: dict[Future[dict[str, Verdict]], Stopwatch] = {}
        self._grader = ThreadPoolExecutor(1, thread_name_prefix="grading")
        self._spent = _Spent()
        self._pausing, self._quiet, self._stop = threading.Event(), threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="rollout-flow", daemon=True)
        self._thread.start()

    # Called by the loop.

    def next(self, step: int) -> RolloutBatch:
        """The batch of this step."""
        self._orders.put(partial(self._scheduler.wanted, step))
        deadline = self._cfg.rollout.deadline_seconds * self._cfg.rollout.max_rounds
        try:
            batch = self._batches.get(timeout=deadline)
        except queue.Empty:
            raise DeadlineError(
                f"step {step}: no batch was formed within {deadline:g} s (rollout.deadline_seconds times "
                f"rollout.max_rounds); {self._pending()}"
            ) from None
        if isinstance(batch, BaseException):
            raise batch
        return batch

    def trained(self, step: int) -> None:
        """The engines hold the weights of this step."""
        self._orders.put(partial(self._pushed, step))

    @contextmanager
    def paused(self, what: str) -> Iterator[None]:
        """Nothing is generated inside; rollout.on_update=wait finishes first what is under way."""
        self._quiet.clear()
        self._pausing.set()
        deadline = self._cfg.rollout.deadline_seconds
        try:
            if self._thread.is_alive() and not self._quiet.wait(deadline):
                raise DeadlineError(
                    f"{what}: generation did not pause within {deadline:g} s; {self._pending()}"
                )
            yield
        finally:
            self._pausing.clear()

    def close(self) -> None:
        """Stop; what is under way is dropped."""
        self._stop.set()
        self._thread.join(timeout=5.0)
        self._grader.shutdown(wait=False, cancel_futures=True)

    # Everything below runs in the thread.

    def _run(self) -> None:
        try:
            for engine in range(self._lanes.count):
                self._follow(self._scheduler.engine_up(engine, self._version))
            while not self._stop.is_set():
                self._obey()
                self._begin_slices()
                if not self._lanes.working():
                    self._stop.wait(_POLL_SECONDS)
                self._end_slices()
                self._end_grading()
        except BaseException as error:  # handed to the loop, which raises it
            self._batches.put(error)
        finally:
            self._quiet.set()

    def _pushed(self, version: int) -> list[Action]:
        self._version = version
        return [a for engine in range(self._lanes.count) for a in self._scheduler.pushed(engine, version)]

    def _obey(self) -> None:
        while not self._orders.empty():
            self._follow(self._orders.get()())

    def _begin_slices(self) -> None:
        working = self._lanes.working()
        pausing = self._pausing.is_set()
        draining = pausing and self._cfg.rollout.on_update == "wait"
        for engine in set(range(self._lanes.count)) - working:
            fresh = [] if draining else self._requests[engine]
            if (pausing and not draining) or not (fresh or self._running[engine]):
                continue
            self._lanes.advance(engine, fresh, self._cancelled.pop(engine, []))
            self._running[engine] += len(fresh)
            if fresh:
                self._requests[engine] = []
        if pausing and not self._lanes.working():
            self._quiet.set()

    def _end_slices(self) -> None:
        for engine, slice_ in self._lanes.done(_POLL_SECONDS):
            self._running[engine] = slice_.running
            self._spent.engine_seconds[engine] += slice_.seconds
            if slice_.finished:
                self._grade(slice_.finished)
            for key, _ in slice_.finished:
                self._follow(self._scheduler.finished(engine, *self._where[key]))

    def _grade(self, finished: Sequence[tuple[str, Generation]]) -> None:
        requests = []
        for sample in samples_of([key for key, _ in finished], [g for _, g in finished], self._tokenizer):
            group, place = self._where[sample.id]
            growing = self._growing[group]
            growing.samples[place] = sample
            requests += growing.prompt.problem.grade_requests([(sample.id, sample.text)])
        self._grading[self._grader.submit(self._graders.grade, requests)] = Stopwatch()

    def _end_grading(self) -> None:
        for future in [future for future in self._grading if future.done()]:
            self._spent.grading_seconds += self._grading.pop(future).seconds
            for key, verdict in future.result().items():
                number, _ = self._where.pop(key)
                growing = self._growing[number]
                growing.verdicts[key] = verdict
                if len(growing.verdicts) == self._scheduler.samples_per_group:
                    self._decide(number)

    def _decide(self, number: int) -> None:
        growing = self._growing.pop(number)
        samples = tuple(growing.samples[place] for place in sorted(growing.samples))
        limit = self._cfg.rollout.max_response_tokens
        group = Group(growing.prompt, score_samples(samples, growing.verdicts, self._cfg.reward, limit))
        self._decided[number] = group
        signal = has_signal(group, self._cfg.reward.score) or not self._cfg.rollout.dynamic_sampling
        self._follow(self._scheduler.graded(number, signal=signal))

    def _follow(self, actions: Sequence[Action]) -> None:
        for action in actions:
            if isinstance(action, Submit):
                self._submit(action)
            elif isinstance(action, Cancel):
                self._cancelled[action.engine] += [self._key(action.group, i) for i in action.samples]
            else:
                self._batches.put(self._batch(action))
                if action.step == self._cfg.steps:  # nobody waits for what still runs
                    self._requests.clear()
                    self._follow(self._scheduler.stopped())

    def _submit(self, action: Submit) -> None:
        if action.group not in self._growing:
            self._places[action.group], prompt = self._feed.next()
            self._growing[action.group] = _Growing(prompt)
        prompt = self._growing[action.group].prompt
        seed = derived_seed(self._cfg.seed, "flow", prompt.id)
        for i in action.samples:
            key = self._key(action.group, i)
            self._where[key] = action.group, i
            self._requests[action.engine].append(Request(key, prompt.token_ids, seed + i))

    def _key(self, group: int, i: int) -> str:
        return f"{self._places[group]}/{self._growing[group].prompt.id}/{i}"

    def _batch(self, release: Release) -> RolloutBatch:
        groups = tuple(self._decided.pop(number) for number in release.groups)
        dropped = tuple(self._decided.pop(number) for number in release.dropped)
        spent, self._spent = self._spent, _Spent()
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
            prompts_kept=len(groups),
            rounds=release.rounds,
            short_of=release.short_of,
            generated_tokens=sum(len(s.token_ids) for g in every for s in g.samples),
            seconds={
                "generate": max(spent.engine_seconds.values(), default=0.0),
                "reward": spent.grading_seconds,
            },
            pending=(*(self._places[number] for number in release.pending), *self._feed.waiting),
        )

    def _pending(self) -> str:
        """What is under way, for a message of the loop."""
        keys = sorted(self._where)
        shown = ", ".join(keys[:5]) + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")
        return f"under way: {shown or 'nothing'}; engines hold weight version {self._version}"
