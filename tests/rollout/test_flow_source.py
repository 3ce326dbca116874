"""Batches from a flow, with engines in memory: nothing lost, the bound kept, pauses, errors and deadlines."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from rlvr import timing
from rlvr.config import Config
from rlvr.errors import ActorError, DeadlineError
from rlvr.reward.verdict import GradeRequest, Outcome, Verdict
from rlvr.rollout.engine import Generation, Slice
from rlvr.rollout.feed import PromptFeed
from rlvr.rollout.flow_source import FlowSource
from rlvr.rollout.growing import GrowingGroups
from rlvr.rollout.stepping import Request
from rlvr.rollout.streaming.flow import FlowWindow
from rlvr.rollout.streaming.scheduler import Scheduler
from rlvr.types import Prompt, Span
from tests.helpers.records import prompt

STEPS, WANT, SAMPLES = 6, 3, 2


class Stream:
    """An endless stream: prompt i is called i."""

    def take(self, position: int, count: int) -> list[Prompt]:
        return [prompt(str(i)) for i in range(position, position + count)]


class Graders:
    """Right is what ends in an even token; of every third group all are."""

    def grade(self, requests: Sequence[GradeRequest]) -> dict[str, Verdict]:
        return {
            r.sample_id: Verdict(
                r.sample_id, Outcome.CORRECT if r.response == "right" else Outcome.WRONG, None, "1", 0.0
            )
            for r in requests
        }


class Words:
    """A tokenizer of two words."""

    def batch_decode(self, ids: list[list[int]], skip_special_tokens: bool = False) -> list[str]:
        return ["right" if own[-1] == 1 else "wrong" for own in ids]


class MemoryLanes:
    """Engines whose responses take as many slices as their place in the group says."""

    def __init__(self, count: int) -> None:
        self.count, self.version, self.stuck = count, 0, False
        self.fails: Exception | None = None
        self.endless = ""  # a group whose responses do not end
        self.paused = threading.Event()  # set by the test: a slice inside is a fault
        self._running: list[dict[str, int]] = [{} for _ in range(count)]
        self._born: dict[str, int] = {}
        self._under_way: list[int] = []
        self.lives = dict.fromkeys(range(count), 0)
        self.waiting: dict[int, int] = {}  # engines that have started again
        self.told: list[str] = []
        self.held = False  # nothing gets on
        self.looks = 0  # of the flow's thread, once in each of its rounds
        self.seeds: dict[str, int] = {}
        self.forgotten: set[str] = set()
        self.asked_again: set[str] = set()

    def up(self) -> dict[int, int]:
        self.looks += 1
        return dict(self.lives)

    def returned(self) -> bool:
        return bool(self.waiting)

    def bring_back(self) -> None:
        self.lives |= self.waiting
        self.waiting = {}

    def lose(self, engine: int) -> None:
        """It has forgotten everything, also what it was just working on."""
        del self.lives[engine]
        self.forgotten |= self._running[engine].keys()
        self._running[engine] = {}
        self._under_way = [other for other in self._under_way if other != engine]

    def tell(self, text: str) -> None:
        self.told.append(text)

    def advance(self, engine: int, requests: Sequence[Request], cancelled: Sequence[str]) -> None:
        assert not self.paused.is_set(), "an engine was asked for tokens in a pause"
        if engine not in self.lives:
            return
        for key in cancelled:
            del self._running[engine][key]
        for request in requests:
            endless = request.key.split("/")[0] == self.endless
            self._running[engine][request.key] = 10**9 if endless else 1 + int(request.key[-1]) * 2
            self._born[request.key] = self.version
            assert self.seeds.setdefault(request.key, request.seed) == request.seed
            self.asked_again |= {request.key} & self.forgotten
        self._under_way.append(engine)

    def working(self) -> dict[int, float]:
        return dict.fromkeys(self._under_way, 0.0)

    def running(self, engine: int) -> int:
        return len(self._running[engine])

    def done(self, timeout: float) -> list[tuple[int, Slice]]:
        if self.fails:
            raise self.fails
        if self.stuck:
            time.sleep(timeout)
            return []
        ended, self._under_way = self._under_way, []
        return [(engine, self._slice(engine)) for engine in ended]

    def _slice(self, engine: int) -> Slice:
        running = self._running[engine]
        for key in () if self.held else running:
            running[key] -= 1
        keys = [key for key, left in running.items() if left == 0]
        for key in keys:
            del running[key]
        return Slice(tuple((key, self._generation(key)) for key in keys), 0.5, len(running))

    def _generation(self, key: str) -> Generation:
        group, _, place = key.split("/")
        right = int(group) % 3 == 0 or place == "0"
        ids = np.asarray([5, 1 if right else 2])
        born, now = self._born[key], self.version
        spans = (Span(born, 0),) if born == now else (Span(born, 0), Span(now, 1))
        return Generation(ids, np.zeros(2, dtype=np.float32), truncated=False, spans=spans)


def config(**rollout: object) -> Config:
    cfg = Config()
    settings = {
        "staleness": 1,
        "dynamic_sampling": True,
        "samples_per_prompt": SAMPLES,
        "deadline_seconds": 5.0,
    }
    return replace(
        cfg,
        steps=STEPS,
        data=replace(cfg.data, prompts_per_step=WANT),
        rollout=replace(cfg.rollout, **settings | rollout),
    )


def open_flow(cfg: Config, lanes: MemoryLanes, position: int = 0, pending: Sequence[int] = ()) -> FlowSource:
    r = cfg.rollout
    window = FlowWindow(want=WANT, staleness=r.staleness, last=STEPS, most_drawn=WANT * r.max_rounds)
    scheduler = Scheduler(window, samples_per_group=SAMPLES, capacity=4)
    feed = PromptFeed(Stream(), cfg, position=position, pending=pending, known={})
    return FlowSource(lanes, scheduler, GrowingGroups(Graders(), Words(), cfg), feed, cfg, version=0)


@pytest.mark.parametrize("staleness", [1, 3])
@pytest.mark.parametrize("on_update", ["wait", "keep", "recompute"])
def test_a_whole_run_loses_and_repeats_nothing_within_the_bound(staleness: int, on_update: str) -> None:
    lanes = MemoryLanes(2)
    source = open_flow(config(staleness=staleness, on_update=on_update), lanes)
    seen: list[str] = []
    versions = 1
    try:
        for step in range(1, STEPS + 1):
            batch = source.next(step)
            assert len(batch.groups) == WANT
            for group in batch.groups:
                assert int(group.prompt.id) % 3, "a group whose responses are all right carries no signal"
                for sample in group.samples:
                    assert 0 <= step - 1 - sample.weight_version <= staleness
                    versions = max(versions, len(sample.spans))
            seen += [group.prompt.id for group in (*batch.groups, *batch.dropped)]
            with source.paused("push"):
                lanes.paused.set()
                time.sleep(0.05)
                lanes.version = step
                lanes.paused.clear()
            source.trained(step)
    finally:
        source.close()
    everything = [*seen, *map(str, batch.pending)]
    assert sorted(map(int, everything)) == list(range(batch.data_position))
    if on_update == "wait":
        assert versions == 1, "what is under way is finished by the weights that began it"


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def wait_for_round(lanes: MemoryLanes) -> None:
    """Until the flow's thread has gone through a whole round that began after the call."""
    before = lanes.looks
    wait_until(lambda: lanes.looks >= before + 2)


def test_nothing_is_lost_or_doubled_where_engines_come_and_go() -> None:
    lanes = MemoryLanes(3)
    lanes.held = True  # so that something is under way on the engine that is lost
    source = open_flow(config(staleness=2), lanes)
    batches = []
    for step in range(1, STEPS + 1):
        if step <= STEPS // 2:
            wait_until(lambda engine=step - 1: lanes.running(engine) > 0)
            lanes.lose(step - 1)
            lanes.held = False
        batches.append(source.next(step))
        with source.paused("push"):
            lanes.version = step
            lanes.held = step < STEPS // 2
            lanes.waiting = {step - 1: step} if step <= STEPS // 2 else {}
            lanes.bring_back()
        source.trained(step)
    source.close()
    groups = [int(g.prompt.id) for b in batches for g in (*b.groups, *b.dropped)]
    assert sorted([*groups, *batches[-1].pending]) == list(range(batches[-1].data_position))
    assert len(lanes.asked_again) >= SAMPLES * STEPS // 2  # each with the seed that it had, see MemoryLanes
    for step, batch in enumerate(batches, start=1):
        for group in batch.groups:
            assert all(0 <= step - 1 - s.weight_version <= 2 for s in group.samples)


def test_a_loop_that_waits_brings_engines_back() -> None:
    lanes = MemoryLanes(1)
    lanes.lose(0)
    lanes.waiting = {0: 7}
    source = open_flow(config(deadline_seconds=60), lanes)
    assert len(source.next(1).groups) == WANT
    assert lanes.up() == {0: 7}
    source.close()


def test_what_an_engine_holds_that_finishes_nothing_is_said() -> None:
    lanes = MemoryLanes(2)
    lanes.endless = "1"
    source = open_flow(config(stall_seconds=0.2, deadline_seconds=60), lanes)
    wait_until(lambda: bool(lanes.told))
    source.close()
    assert re.search(r"engine-[01] \(weight version 0\) .* holds 1/1/0, 1/1/1", lanes.told[0])


def test_an_evaluation_may_outlast_the_stall_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    lanes, now = MemoryLanes(2), [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])
    lanes.held = True  # so that engines hold responses all the time
    source = open_flow(config(stall_seconds=60.0), lanes)
    wait_until(lambda: all(lanes.running(engine) for engine in range(2)))
    now[0] += 29.0
    with source.paused("evaluation"):
        for _ in range(5):
            now[0] += 1000.0
            wait_for_round(lanes)
    now[0] += 0.5  # 29.5 s in which something was asked of an engine: not yet half of the limit
    lanes.held = False
    assert len(source.next(1).groups) == WANT
    assert lanes.told == []
    lanes.held = True
    wait_until(lambda: any(lanes.running(engine) for engine in range(2)))
    now[0] += 31.0
    wait_until(lambda: bool(lanes.told))
    with source.paused("evaluation"):  # what was silent before cannot speak now
        told = len(lanes.told)
        now[0] += 1000.0
        wait_for_round(lanes)
        assert len(lanes.told) == told
    source.close()


def test_a_resumed_flow_begins_with_what_was_under_way() -> None:
    source = open_flow(config(), MemoryLanes(1), position=7, pending=(2, 4))
    batch = source.next(1)
    source.close()
    assert [group.prompt.id for group in batch.groups] == ["2", "4", "7"]
    assert batch.data_position + len(batch.pending) >= 8
    assert set(batch.pending) <= set(range(8, batch.data_position))


def test_what_still_runs_after_the_last_batch_is_cancelled() -> None:
    cfg, lanes = replace(config(), steps=1), MemoryLanes(1)
    lanes.endless = "1"
    scheduler = Scheduler(
        FlowWindow(want=2, staleness=1, last=1, most_drawn=1), samples_per_group=SAMPLES, capacity=4
    )
    feed = PromptFeed(Stream(), cfg, position=0, known={})
    source = FlowSource(lanes, scheduler, GrowingGroups(Graders(), Words(), cfg), feed, cfg, version=0)
    batch = source.next(1)
    assert ([g.prompt.id for g in batch.dropped], batch.short_of, batch.pending[0]) == (["0"], 2, 1)
    wait_until(lambda: not lanes.running(0))
    source.close()


def test_a_failure_of_an_engine_reaches_the_loop() -> None:
    lanes = MemoryLanes(1)
    lanes.fails = ActorError("engine-0: the process behind it died")
    source = open_flow(config(), lanes)
    with pytest.raises(ActorError, match="engine-0"):
        source.next(1)
    with source.paused("push"):
        pass  # does not wait for a thread that is gone
    source.close()


def test_a_failure_while_the_loop_computes_is_raised_before_anything_else_is_done() -> None:
    lanes = MemoryLanes(1)
    lanes.fails = ActorError("engine-0: the process behind it died")
    source = open_flow(config(), lanes)
    wait_until(lambda: not source._thread.is_alive())
    with pytest.raises(ActorError, match="engine-0"), source.paused("evaluation"):
        pytest.fail("nothing may be generated now")
    source.close()


def test_a_stuck_engine_ends_the_wait_with_what_is_under_way() -> None:
    lanes = MemoryLanes(1)
    lanes.stuck = True
    source = open_flow(config(deadline_seconds=0.1), lanes)
    with pytest.raises(DeadlineError, match=r"step 1: no batch .* under way: 0/0/0, 0/0/1, 1/1/0"):
        source.next(1)
    with pytest.raises(DeadlineError, match=r"push: generation did not pause"), source.paused("push"):
        pass
    source.close()
