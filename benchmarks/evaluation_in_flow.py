"""Real engines on CPU: evaluations that stop training against evaluations in the flow, and against none.

    python -m benchmarks.evaluation_in_flow

One learner and two engines with the built-in model train the same steps each way, in turns. A gap is the time between
the records of two steps. Prints a table and writes evaluation-in-flow-<date>.json.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.about import about, load_average, write_result
from rlvr.cli.overrides.compose import load
from rlvr.config import Config
from rlvr.runtime.batches import open_source
from rlvr.runtime.checkpoints.checkpoint import TrainingState
from rlvr.runtime.readings import evaluate_last
from rlvr.runtime.session import Session, open_session
from rlvr.timing import Stopwatch
from rlvr.train import train_steps

EVERY = 2  # steps between evaluations
WAYS = {"none": (0, "never"), "stopping": (EVERY, "never"), "in the flow": (EVERY, "auto")}


@dataclass(frozen=True, slots=True)
class Row:
    """One way."""

    way: str
    seconds: float  # from the first step until the evaluation after the last one is on record
    gap: float  # seconds between the records of two steps, the median
    gap_evaluated: float  # the same where an evaluation was due in between
    longest: float  # of all gaps
    ahead: float  # weight versions that an evaluation's last tokens were ahead of its step, the mean


def measure(s: Session, cfg: Config, way: str) -> Row:
    """Train all steps one way."""
    every, in_stream = WAYS[way]
    s.cfg = cfg = replace(cfg, eval=replace(cfg.eval, every=every, in_stream=in_stream))
    s.pusher.push(0)
    s.folder.metrics_file.unlink(missing_ok=True)
    (s.folder.path / "ready_groups.jsonl").unlink(missing_ok=True)
    times: list[float] = []
    with ExitStack() as stack:
        s.source = open_source(cfg, s.engines, s.graders, s.stream, s.start, s.folder, stack)
        stack.callback(s.source.close)
        s.pusher.pausing = s.source.paused
        watch, record = Stopwatch(), s.tracker.step

        def step(number: int, metrics: dict[str, float]) -> None:
            times.append(watch.seconds)
            record(number, metrics)

        s.tracker.step = step  # type: ignore[method-assign]
        try:
            state = train_steps(s, {})
            evaluate_last(s, state)
            seconds = watch.seconds
        finally:
            s.tracker.step = record  # type: ignore[method-assign]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    evaluated = [gap for number, gap in enumerate(gaps, start=1) if number % EVERY == 0]
    rows = [r for r in s.folder.read_metrics() if r["kind"] == "eval" and r["step"] < cfg.steps]
    ahead = [v - r["step"] for r in rows for k, v in r.items() if k.endswith("/version_last")]
    return Row(
        way,
        seconds,
        statistics.median(gaps),
        statistics.median(evaluated),
        max(gaps),
        statistics.fmean(ahead or [0]),
    )


def arguments(options: argparse.Namespace, folder: Path) -> list[str]:
    """Of the run whose processes are used."""
    return [
        *("recipe=dapo", f"steps={options.steps}", "rollout.engines=2", "rollout.staleness=2"),
        *("rollout.dynamic_sampling=false", "loss.rollout_correction=2.0", "learner.lr=1e-9"),
        f"data.eval=[{{name:arithmetic_heldout,limit:{options.problems}}}]",
        *("eval.samples_per_prompt=4", "run.save_every=0", "run.export=false", "tracking.wandb=off"),
        *("sync.preflight=false", f"run.root={folder}", "run.name=evaluation", "cluster.threads_per_actor=1"),
    ]


def table(rows: Sequence[Row]) -> str:
    """As Markdown; the first row is what the others are compared with."""
    lines = [
        "| evaluations | seconds | against none | gap | gap with an evaluation | longest gap | versions ahead |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {r.way} | {r.seconds:.1f} | {r.seconds / rows[0].seconds:.2f}x | {r.gap:.2f} s | {r.gap_evaluated:.2f} s "
        f"| {r.longest:.2f} s | {r.ahead:.1f} |"
        for r in rows
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Evaluations that stop training against evaluations in the flow."
    )
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--problems", type=int, default=64, help="of the held-out set, four samples each")
    parser.add_argument("--rounds", type=int, default=2, help="of all ways")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    load_before = load_average()
    whole, rounds = Stopwatch(), []
    with tempfile.TemporaryDirectory() as folder:
        cfg = load(arguments(options, Path(folder)))
        with open_session(cfg) as session:
            session.source.close()
            session.start = TrainingState(0, 0, 0, 0.0, 0.0, {})
            measure(session, replace(cfg, steps=4), "none")  # the first tokens of an engine take seconds
            for _ in range(options.rounds):
                rounds.append([measure(session, cfg, way) for way in WAYS])
                print(table(rounds[-1]), flush=True)
    content: dict[str, Any] = {
        "settings": {"steps": options.steps, "problems": options.problems, "every": EVERY},
        "rounds": [[asdict(row) for row in rows] for rows in rounds],
        "about": about(load_before) | {"seconds": whole.seconds},
    }
    print(f"{whole.seconds:.0f} s in all; {write_result(options.out, 'evaluation-in-flow', content)}")


if __name__ == "__main__":
    main()
