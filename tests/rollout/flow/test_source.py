"""Batches from a flow, with engines in memory: nothing lost, the bound kept, pauses, errors and deadlines."""

from __future__ import annotations

import re
import time
from dataclasses import replace

import pytest

from rlvr import timing
from rlvr.errors import ActorError, DeadlineError
from rlvr.rollout.flow.feed import PromptFeed
from rlvr.rollout.flow.growing import GrowingGroups
from rlvr.rollout.flow.source import FlowSource
from rlvr.rollout.streaming.scheduler import Scheduler
from rlvr.rollout.streaming.window import FlowWindow
from tests.helpers.memory_lanes import (
    SAMPLES,
    STEPS,
    WANT,
    Graders,
    MemoryLanes,
    Stream,
    Words,
    config,
    open_flow,
    wait_for_round,
    wait_until,
)
from tests.helpers.records import group as graded


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
    with source.paused("push"):
        lanes.version, lanes.held = 1, True
    source.trained(1)  # there may be nothing left to generate before
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


def test_groups_that_are_too_old_for_any_batch_were_accepted_all_the_same() -> None:
    cfg = config()
    window = FlowWindow(want=WANT, staleness=1, next_step=2, last=STEPS, most_drawn=99)
    rewards = {"0": [1.0, 0.0], "1": [1.0, 0.0], "2": [1.0, 0.0], "3": [1.0, 0.0], "4": [1.0, 1.0]}
    restored = {
        window.restore(0, signal=name != "4"): (int(name), graded(name, own)) for name, own in rewards.items()
    }
    scheduler = Scheduler(window, samples_per_group=SAMPLES, capacity=4)
    feed = PromptFeed(Stream(), cfg, position=5, known={})
    growing = GrowingGroups(Graders(), Words(), cfg)
    lanes = MemoryLanes(1)
    lanes.held = True  # so that the batch is formed of what is there
    source = FlowSource(lanes, scheduler, growing, feed, cfg, version=1, restored=restored)
    batch = source.next(2)
    source.close()
    assert [g.prompt.id for g in batch.groups] == ["0", "1", "2"]
    assert sorted(g.prompt.id for g in batch.dropped) == ["3", "4"]
    assert (
        batch.acceptance == 4 / 5
    )  # of five, one had no signal; how many the batch could take is another matter


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
