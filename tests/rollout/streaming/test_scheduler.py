"""The scheduler of rollouts under a simulated world: nothing lost, nothing twice, nothing too old, nobody idle."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr.rollout.streaming.records import Cancel, Opening, Release, Submit
from rlvr.rollout.streaming.rounds import RoundsWindow, next_draw
from rlvr.rollout.streaming.scheduler import Scheduler
from rlvr.rollout.streaming.window import FlowWindow
from tests.helpers.streaming_cases import Case, cases, flow, rounds, signal, simulate


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(cases())
def test_a_flow_loses_nothing_repeats_nothing_and_keeps_the_bound(case: Case) -> None:
    run = simulate(case, flow(case))
    groups = [g for r in run.releases for g in (*r.groups, *r.dropped)]
    last = run.releases[-1]
    assert [r.step for r in run.releases] == list(range(1, case.world.steps + 1))
    assert Counter([*groups, *last.pending]) == Counter(range(last.position)), "each once, and no gap"
    assert max(run.finished.values()) == 1
    for release in run.releases:
        for group in release.groups:
            assert signal(case, group)
            for sample in range(case.samples):
                assert run.finished[group, sample] == 1
                oldest = run.started[group, sample][-1]
                assert 0 <= release.step - 1 - oldest <= case.staleness
        assert len(release.groups) + release.short_of == case.want
        if release.short_of:
            assert len(release.groups) + len(release.dropped) >= case.want * case.max_rounds
    if run.failures == 0:
        assert all(len(times) == 1 for times in run.started.values())


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(cases())
def test_without_dynamic_sampling_a_flow_throws_nothing_away(case: Case) -> None:
    case = replace(case, world=replace(case.world, signal=1.0), max_rounds=1)
    run = simulate(case, flow(case))
    assert all(r.dropped == () and r.short_of == 0 for r in run.releases)
    assert run.releases[-1].pending == (), "what the last batch does not need is not begun"


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(cases(staleness=(0, 0)), st.integers(1, 5), st.booleans())
def test_rounds_give_the_same_batches_on_any_engines(case: Case, engines: int, early: bool) -> None:
    other = replace(case, world=replace(case.world, engines=engines, mean_seconds_to_failure=None))
    run = simulate(case, rounds(case))
    assert run.releases == simulate(other, rounds(other, early=early)).releases
    assert run.releases == by_rounds(case)
    for release in run.releases:
        for group in release.groups:
            assert {run.started[group, i][-1] for i in range(case.samples)} == {release.step - 1}


def by_rounds(case: Case) -> tuple[Release, ...]:
    """The batches of generate-and-filter rounds written as a loop, as in `rlvr.rollout.collect`."""
    position, releases = 0, []
    for step in range(1, case.world.steps + 1):
        kept: list[int] = []
        dropped: list[int] = []
        drawn = done = 0
        while len(kept) < case.want and done < case.max_rounds:
            count = next_draw(case.want - len(kept), len(kept), drawn, case.want)
            for group in range(position + drawn, position + drawn + count):
                (kept if signal(case, group) else dropped).append(group)
            drawn, done = drawn + count, done + 1
        position += drawn
        surplus = kept[case.want :]
        short_of = max(0, case.want - len(kept))
        releases.append(
            Release(step, tuple(kept[: case.want]), (*dropped, *surplus), short_of, position, done)
        )
    return tuple(releases)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(cases(), st.randoms(use_true_random=False))
def test_no_engine_has_room_while_a_group_may_start(case: Case, order: random.Random) -> None:
    """Events in any order: after each, there is no engine with room, or the window opens nothing on the emptiest."""
    window = flow(case)
    scheduler = Scheduler(window, samples_per_group=case.samples, capacity=case.world.slots)
    flying: list[tuple[int, int, int]] = []
    version = 0

    def follow(actions: list[object]) -> None:
        for action in actions:
            assert isinstance(action, Submit | Release)
            if isinstance(action, Submit):
                flying.extend((action.engine, action.group, i) for i in action.samples)
            else:
                released.append(action)

    released: list[Release] = []
    for engine in range(case.world.engines):
        follow(scheduler.engine_up(engine, 0))
    follow(scheduler.wanted(1))
    for _ in range(200):
        if flying and order.random() < 0.9:
            engine, group, sample = flying.pop(order.randrange(len(flying)))
            follow(scheduler.finished(engine, group, sample))
            if scheduler.complete(group):
                follow(scheduler.graded(group, signal=order.random() < case.world.signal))
        elif len(released) > version:
            version += 1
            for engine in range(case.world.engines):
                follow(scheduler.pushed(engine, version))
            if version < case.world.steps:
                follow(scheduler.wanted(version + 1))
        room = [e for e, lane in scheduler.fleet.lanes.items() if lane.load < case.world.slots]
        assert not room or window.open(version) is None


def test_what_a_dead_engine_ran_runs_again_and_its_late_answers_are_ignored() -> None:
    window = FlowWindow(want=1, staleness=1, last=1, most_drawn=1)
    scheduler = Scheduler(window, samples_per_group=3, capacity=4)
    assert scheduler.engine_up(0, 0) == [Submit(0, 0, (0, 1, 2), 0)]
    assert scheduler.engine_up(1, 0) == []
    assert scheduler.finished(0, 0, 1) == []
    assert scheduler.engine_down(0) == [Submit(1, 0, (0, 2), 0)]
    assert scheduler.finished(0, 0, 0) == []
    assert not scheduler.complete(0)
    scheduler.finished(1, 0, 0)
    scheduler.finished(1, 0, 2)
    assert scheduler.complete(0)
    scheduler.graded(0, signal=True)
    assert scheduler.wanted(1) == [Release(1, (0,), (), 0, 1, 1)]


def test_lost_samples_wait_for_weights_that_are_as_new_as_theirs() -> None:
    window = FlowWindow(want=2, staleness=1, last=9, most_drawn=2)
    scheduler = Scheduler(window, samples_per_group=1, capacity=1)
    scheduler.engine_up(0, 1)
    assert scheduler.engine_down(0) == []
    again = scheduler.engine_up(1, 0)
    assert [a.group for a in again if isinstance(a, Submit)] == [1], "version 0 would be too old for group 0"
    assert scheduler.pushed(1, 1) == []
    assert scheduler.finished(1, 1, 0) == [Submit(1, 0, (0,), 0)]


def test_an_early_group_starts_once_the_next_round_is_sure_to_hold_it() -> None:
    window = RoundsWindow(want=3, max_rounds=2, last=1)
    assert [window.open(0) for _ in range(4)] == [Opening(0, 0), Opening(1, 0), Opening(2, 0), None]
    window.decided(1, signal=False)
    assert [window.open(0), window.open(0)] == [Opening(3, 1), Opening(4, 1)], (
        "one is missing of 2/3 accepted"
    )
    assert window.open(0) is None


@pytest.mark.parametrize("version", [0, 2])
def test_rounds_start_nothing_on_other_weights(version: int) -> None:
    assert RoundsWindow(want=1, max_rounds=1, next_step=2, last=5).open(version) is None


def seldom_accepted(last: int) -> tuple[FlowWindow, list[int]]:
    """A window whose groups have carried no signal so far, and those that it has under way therefore."""
    window = FlowWindow(want=2, staleness=1, last=last, most_drawn=999)
    for group in range(60):
        assert window.open(0) == Opening(group, 0)
        window.decided(group, signal=False)
    started = [opening.group for _ in range(99) if (opening := window.open(0))]
    assert len(started) > 2 * min(2, last), "more than batches could take if each carried one"
    return window, started


def test_more_groups_with_a_signal_than_a_batch_takes_at_their_last_step_are_thrown_away() -> None:
    window, started = seldom_accepted(last=9)
    for group in started:
        window.decided(group, signal=True)
    first, second = window.take(1), window.take(2)
    assert first is not None
    assert second is not None
    assert first.groups == tuple(started[:2])
    assert second.groups == tuple(started[2:4])
    assert second.dropped == tuple(started[4:])
    assert second.pending == ()


@pytest.mark.parametrize("last", [2, 9])
def test_a_batch_waits_for_groups_that_may_not_be_trained_on_later(last: int) -> None:
    window, started = seldom_accepted(last)
    for group in started[:2]:
        window.decided(group, signal=True)
    for group in started[2:-1]:
        window.decided(group, signal=False)
    first = window.take(1)
    assert first is not None
    for group in (window.open(1), window.open(1)):
        assert group is not None
        window.decided(group.group, signal=True)
    assert window.take(2) is None
    window.decided(started[-1], signal=True)
    second = window.take(2)
    assert second is not None
    assert started[-1] in second.groups


def test_what_no_batch_needs_is_cancelled() -> None:
    scheduler = Scheduler(
        FlowWindow(want=1, staleness=1, last=1, most_drawn=1), samples_per_group=3, capacity=4
    )
    scheduler.engine_up(0, 0)
    scheduler.finished(0, 0, 1)
    assert scheduler.stopped() == [Cancel(0, 0, (0, 2))]


def test_nobody_waits_for_what_a_lost_engine_ran_once_no_batch_needs_it() -> None:
    scheduler = Scheduler(
        FlowWindow(want=1, staleness=1, last=1, most_drawn=1), samples_per_group=3, capacity=4
    )
    scheduler.engine_up(0, 0)
    assert scheduler.engine_down(0) == []
    assert scheduler.stopped() == []
    assert scheduler.engine_up(1, 0) == []
