"""Simulated worlds for the scheduler of rollouts, drawn by hypothesis."""

from __future__ import annotations

import random
from dataclasses import dataclass

from hypothesis import strategies as st

from rlvr.rollout.streaming.rounds import RoundsWindow
from rlvr.rollout.streaming.scheduler import Scheduler
from rlvr.rollout.streaming.simulator import SimulatedRun, Simulation, World
from rlvr.rollout.streaming.window import FlowWindow


@dataclass(frozen=True)
class Case:
    world: World
    want: int
    samples: int
    staleness: int
    max_rounds: int


def length(limit: int) -> object:
    return lambda r: max(1, min(limit, int(r.lognormvariate(3.0, 1.0))))


@st.composite
def cases(draw: st.DrawFn, *, staleness: tuple[int, int] = (1, 4)) -> Case:
    failing = draw(st.booleans())
    world = World(
        engines=draw(st.integers(1, 5)),
        slots=draw(st.integers(1, 12)),
        length=length(draw(st.integers(1, 200))),
        steps=draw(st.integers(1, 8)),
        signal=draw(st.sampled_from([1.0, 0.9, 0.5, 0.2])),
        token_seconds=1.0,
        load_seconds=draw(st.sampled_from([0.0, 0.1])),
        update_seconds=draw(st.sampled_from([0.0, 10.0, 300.0])),
        push_seconds=draw(st.sampled_from([0.0, 5.0])),
        mean_seconds_to_failure=draw(st.sampled_from([400.0, 2000.0])) if failing else None,
        restart_seconds=30.0,
        seed=draw(st.integers(0, 99)),
    )
    max_rounds = 1 if world.signal == 1.0 else draw(st.integers(1, 4))
    return Case(
        world, draw(st.integers(1, 6)), draw(st.integers(1, 4)), draw(st.integers(*staleness)), max_rounds
    )


def flow(case: Case) -> FlowWindow:
    return FlowWindow(
        want=case.want,
        staleness=case.staleness,
        last=case.world.steps,
        most_drawn=case.max_rounds * case.want,
    )


def rounds(case: Case, *, early: bool = True) -> RoundsWindow:
    return RoundsWindow(want=case.want, max_rounds=case.max_rounds, last=case.world.steps, early=early)


def simulate(case: Case, window: FlowWindow | RoundsWindow) -> SimulatedRun:
    scheduler = Scheduler(window, samples_per_group=case.samples, capacity=case.world.slots)
    return Simulation(case.world, scheduler).run()


def signal(case: Case, group: int) -> bool:
    return random.Random(f"{case.world.seed}/{group}").random() < case.world.signal
