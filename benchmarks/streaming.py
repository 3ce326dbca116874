"""Simulated rollouts: how much sooner batches come from a flow than from batch dispatch.

    python -m benchmarks.streaming [--engines 8 64 1024] [--steps 8] [--out benchmarks/results]

Prints a Markdown table and the rate of the scheduler, and writes both to streaming-<date>.json. Nothing here is
measured on engines: response lengths are lognormal with a share at the limit, and `WORLD` says the rest.
"""

from __future__ import annotations

import argparse
import math
import platform
import random
import statistics
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks.about import write_result
from rlvr.rollout.streaming.records import Submit, Window
from rlvr.rollout.streaming.rounds import RoundsWindow
from rlvr.rollout.streaming.scheduler import Scheduler
from rlvr.rollout.streaming.simulator import SimulatedRun, Simulation, World
from rlvr.rollout.streaming.window import FlowWindow

SAMPLES = 16  # in a group
LIMIT = 8192  # tokens of a response
SIGMA = 1.0  # of the logarithm of a length
MAX_ROUNDS = 4
WORLD = World(
    engines=1,
    slots=32,
    length=lambda random_numbers: LIMIT,
    steps=8,
    signal=0.5,
    token_seconds=0.02,
    load_seconds=0.0001,
    update_seconds=100.0,
    push_seconds=5.0,
    restart_seconds=120.0,
)
HOURS_TO_FAILURE = 2.0
STALENESS = (1, 2, 4)


@dataclass(frozen=True, slots=True)
class Row:
    """One machine and one distribution: wall time per group trained on against batch dispatch."""

    engines: int
    at_limit: float
    failures: bool
    failed: dict[str, int]  # engines that failed
    batch_slot_use: float
    speed_up: dict[str, float]
    slot_use: dict[str, float]


def lognormal(at_limit: float) -> object:
    """Lengths of which this share reaches the limit."""
    middle = math.log(LIMIT) - SIGMA * statistics.NormalDist().inv_cdf(1 - at_limit)
    return lambda numbers: max(1, min(LIMIT, int(numbers.lognormvariate(middle, SIGMA))))


def simulate(world: World, window: Window, capacity: int) -> SimulatedRun:
    return Simulation(world, Scheduler(window, samples_per_group=SAMPLES, capacity=capacity)).run()


def compare(engines: int, at_limit: float, failures: bool, steps: int) -> Row:
    """Every way to dispatch, in one world; a batch fills all slots once."""
    world = replace(
        WORLD,
        engines=engines,
        steps=steps,
        length=lognormal(at_limit),
        mean_seconds_to_failure=HOURS_TO_FAILURE * 3600 if failures else None,
    )
    want = engines * world.slots // SAMPLES
    rounds = {"want": want, "max_rounds": MAX_ROUNDS, "last": steps}
    # A round fills each engine's slots once, so that its samples are dealt out evenly and at once.
    batch = simulate(world, RoundsWindow(**rounds, early=False), capacity=world.slots)
    runs = {"0": simulate(world, RoundsWindow(**rounds), capacity=world.slots)}
    for k in STALENESS:
        window = FlowWindow(want=want, staleness=k, last=steps, most_drawn=MAX_ROUNDS * want)
        runs[str(k)] = simulate(world, window, capacity=world.slots)
    cost = batch.seconds / batch.kept
    return Row(
        engines,
        at_limit,
        failures,
        {k: run.failures for k, run in runs.items()},
        batch.slot_use,
        {k: cost / (run.seconds / run.kept) for k, run in runs.items()},
        {k: run.slot_use for k, run in runs.items()},
    )


def events_per_second(engines: int, events: int = 400_000) -> float:
    """What the scheduler handles in one thread, in CPU time, on events in random order."""
    numbers, want = random.Random(0), 4 * engines
    window = FlowWindow(want=want, staleness=2, last=10**6, most_drawn=MAX_ROUNDS * want)
    scheduler = Scheduler(window, samples_per_group=SAMPLES, capacity=256)
    running: list[tuple[int, int, int]] = []
    begun = time.process_time()
    done = version = released = 0
    actions = [a for e in range(engines) for a in scheduler.engine_up(e, 0)] + scheduler.wanted(1)
    while done < events:
        for action in actions:
            if isinstance(action, Submit):
                running.extend((action.engine, action.group, i) for i in action.samples)
            else:
                released += 1
        if released > version:
            version += 1
            actions = [a for e in range(engines) for a in scheduler.pushed(e, version)]
            actions += scheduler.wanted(version + 1)
            done += engines + 1
            continue
        place = numbers.randrange(len(running))
        running[place], running[-1] = running[-1], running[place]
        engine, group, sample = running.pop()
        actions = scheduler.finished(engine, group, sample)
        done += 1
        if scheduler.complete(group):
            actions += scheduler.graded(group, signal=numbers.random() < WORLD.signal)
            done += 1
    return done / (time.process_time() - begun)


def table(rows: list[Row]) -> str:
    """As Markdown."""
    names = ["0", *map(str, STALENESS)]
    head = ["engines", "at the limit", "failures", "slot use of batch dispatch"]
    lines = [" | ".join([*head, *(f"staleness {k}" for k in names)]), " | ".join(["---"] * (4 + len(names)))]
    for row in rows:
        cells = [str(row.engines), f"{row.at_limit:.0%}", "yes" if row.failures else "no"]
        cells.append(f"{row.batch_slot_use:.2f}")
        cells += [f"{row.speed_up[k]:.2f}x ({row.slot_use[k]:.2f})" for k in names]
        lines.append(" | ".join(cells))
    return "\n".join(f"| {line} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Simulate rollouts.")
    parser.add_argument("--engines", type=int, nargs="+", default=[8, 64, 1024])
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    rows = [
        compare(engines, at_limit, failures, arguments.steps)
        for engines in arguments.engines
        for at_limit in (0.02, 0.05, 0.15)
        for failures in ((False, True) if at_limit == 0.05 else (False,))
    ]
    rates = {str(engines): round(events_per_second(engines)) for engines in arguments.engines}
    print(table(rows))
    print(
        "scheduler:", ", ".join(f"{rate} events/s with {engines} engines" for engines, rate in rates.items())
    )
    settings = {k: v for k, v in asdict(WORLD).items() if k not in ("length", "engines", "steps")}
    settings |= {"samples": SAMPLES, "limit": LIMIT, "sigma": SIGMA, "max_rounds": MAX_ROUNDS}
    settings |= {
        "steps": arguments.steps,
        "hours_to_failure": HOURS_TO_FAILURE,
        "python": platform.python_version(),
    }
    content = {"settings": settings, "rows": [asdict(row) for row in rows], "events_per_second": rates}
    write_result(arguments.out, "streaming", content)


if __name__ == "__main__":
    main()
