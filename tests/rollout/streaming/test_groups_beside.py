"""Groups that belong to no batch: answered once, before anything else, and no batch is another for them."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr.rollout.streaming.records import Action, Cancel, Release, Submit
from rlvr.rollout.streaming.scheduler import Scheduler
from rlvr.rollout.streaming.window import FlowWindow
from tests.helpers.streaming_cases import Case, cases, flow, rounds, signal, simulate

readings = st.tuples(st.integers(1, 3), st.lists(st.integers(1, 4), min_size=1, max_size=6).map(tuple))


def reading(case: Case, asked: tuple[int, tuple[int, ...]]) -> Case:
    every, sizes = asked
    return replace(case, world=replace(case.world, read_every=every, reading=sizes))


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(cases(), readings)
def test_evaluations_are_answered_once_and_batches_keep_their_guarantees(
    case: Case, asked: tuple[int, tuple[int, ...]]
) -> None:
    every, sizes = asked
    run = simulate(reading(case, asked), flow(case))
    assert sorted(run.read) == list(range(every, case.world.steps, every))
    numbers = [group for groups in run.read.values() for group in groups]
    assert sorted(numbers, reverse=True) == list(range(-1, -len(numbers) - 1, -1)), "no number twice"
    for step, groups in run.read.items():
        for group, size in zip(groups, sizes, strict=True):
            for sample in range(size):
                assert run.finished[group, sample] == 1
                assert min(run.started[group, sample]) >= step, "of weights before those that were asked for"
            assert (group, size) not in run.started
    assert [r.step for r in run.releases] == list(range(1, case.world.steps + 1))
    trained = [g for r in run.releases for g in (*r.groups, *r.dropped)]
    last = run.releases[-1]
    assert Counter([*trained, *last.pending]) == Counter(range(last.position))
    for release in run.releases:
        for group in release.groups:
            assert signal(case, group)
            for sample in range(case.samples):
                assert run.finished[group, sample] == 1
                assert 0 <= release.step - 1 - run.started[group, sample][-1] <= case.staleness


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(cases(staleness=(0, 0)), readings)
def test_rounds_give_the_same_batches_with_evaluations(
    case: Case, asked: tuple[int, tuple[int, ...]]
) -> None:
    assert simulate(reading(case, asked), rounds(case)).releases == simulate(case, rounds(case)).releases


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(cases(), readings, st.integers(0, 999))
def test_with_room_for_both_a_flow_forms_the_same_batches_from_the_same_completions(
    case: Case, asked: tuple[int, tuple[int, ...]], seed: int
) -> None:
    """One engine that always has a slot: what waits for none is not moved by what runs beside it."""
    assert in_order(case, seed, reading=asked) == in_order(case, seed, reading=None)


def in_order(case: Case, seed: int, reading: tuple[int, tuple[int, ...]] | None) -> list[Action]:
    """What is done with training groups that are finished in an order of this seed, one after the other."""
    order, other = random.Random(seed), random.Random(seed + 1)
    scheduler = Scheduler(flow(case), samples_per_group=case.samples, capacity=10**9)
    flying: list[tuple[int, int]] = []
    beside: list[tuple[int, int]] = []
    done: list[Action] = []

    def follow(actions: list[Action]) -> None:
        for action in actions:
            assert isinstance(action, Submit | Release)
            if isinstance(action, Submit):
                to = beside if action.group < 0 else flying
                to.extend((action.group, i) for i in action.samples)
            if isinstance(action, Release) or action.group >= 0:
                done.append(action)

    follow(scheduler.engine_up(0, 0))
    step = 0
    while step < case.world.steps:
        follow(scheduler.wanted(step + 1))
        while sum(isinstance(action, Release) for action in done) == step:
            if beside and other.random() < 0.5:
                group, sample = beside.pop(other.randrange(len(beside)))
                follow(scheduler.finished(0, group, sample))
                if scheduler.complete(group):
                    follow(scheduler.answered(group))
                continue
            group, sample = flying.pop(order.randrange(len(flying)))
            follow(scheduler.finished(0, group, sample))
            if scheduler.complete(group):
                follow(scheduler.graded(group, signal=signal(case, group)))
        step += 1
        follow(scheduler.pushed(0, step))
        if reading and step % reading[0] == 0:
            follow(scheduler.ask(reading[1], step)[1])
    return done


def window(last: int = 9) -> FlowWindow:
    return FlowWindow(want=2, staleness=1, last=last, most_drawn=2)


def test_a_free_slot_goes_to_an_evaluation_first_and_a_lost_sample_before_it() -> None:
    scheduler = Scheduler(window(), samples_per_group=1, capacity=2)
    assert [action.group for action in scheduler.engine_up(0, 0)] == [0, 1]
    assert scheduler.ask([2, 1], 0) == (range(-1, -3, -1), []), "no engine has room"
    assert scheduler.finished(0, 0, 0) == [Submit(0, -1, (0, 1), 0)]
    assert scheduler.engine_down(0) == []
    assert scheduler.engine_up(1, 0) == [Submit(1, 1, (0,), 0), Submit(1, -1, (0, 1), 0)]
    assert scheduler.finished(1, 1, 0) == []
    assert scheduler.finished(1, -1, 1) == [Submit(1, -2, (0,), 0)]
    assert scheduler.finished(1, -1, 0) == [Submit(1, 2, (0,), 0)], "then the window again"
    assert scheduler.complete(-1)
    scheduler.answered(-1)


def test_an_evaluation_waits_for_the_weights_that_it_is_of() -> None:
    scheduler = Scheduler(window(), samples_per_group=1, capacity=1)
    _, actions = scheduler.ask([1], 1)
    assert actions == []
    assert scheduler.engine_up(0, 0) == [Submit(0, 0, (0,), 0)], "training groups do not wait for it"
    assert scheduler.pushed(0, 1) == []
    assert scheduler.finished(0, 0, 0) == [Submit(0, -1, (0,), 0)]


def test_what_the_run_no_longer_needs_makes_room_for_evaluations_that_are_waited_for() -> None:
    scheduler = Scheduler(window(last=1), samples_per_group=1, capacity=2)
    assert [action.group for action in scheduler.engine_up(0, 0)] == [0, 1]
    assert [action.group for action in scheduler.engine_up(1, 0)] == []
    assert scheduler.ask([1] * 3, 0)[1] == [Submit(1, -1, (0,), 0), Submit(1, -2, (0,), 0)]
    assert scheduler.stopped() == [Cancel(0, 0, (0,)), Cancel(0, 1, (0,)), Submit(0, -3, (0,), 0)]
    assert scheduler.engine_down(1) == [Submit(0, -1, (0,), 0)]
    assert scheduler.finished(0, -3, 0) == [Submit(0, -2, (0,), 0)]
