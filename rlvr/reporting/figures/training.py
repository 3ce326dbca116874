"""The curves of training: one run in detail, or several runs over each other."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow.compute as pc

from rlvr.metrics import sets_among
from rlvr.reporting.figures.canvas import TEXTS, Figure, described, numbers, series, slug
from rlvr.reporting.sources import ReportedRun

LONG = 200  # steps from which a line is drawn thinner
BAND = ("ci_low", "ci_high")


@dataclass(frozen=True, slots=True)
class Panel:
    """One figure of metrics by step; over several runs or seeds only the first metric is drawn."""

    name: str
    title: str
    unit: str  # label of the y axis
    metrics: dict[str, str]  # name in metrics.jsonl -> label; the main one first
    caption: str
    log: bool = False

    @property
    def main(self) -> str:
        """The metric that is drawn where there is room for one."""
        return next(iter(self.metrics))

    def about(self, drawn: int) -> str:
        """The caption where so many of the metrics are drawn."""
        return self.caption if drawn > 1 or len(self.metrics) == 1 else f"{self.caption} Drawn: {self.main}."


PANELS = tuple(Panel(name, **text) for name, text in TEXTS["panels"].items())


def training_figures(runs: Sequence[ReportedRun]) -> Iterator[Figure]:
    """Every figure for which the runs have numbers."""
    for name in dict.fromkeys(name for run in runs for name in evaluated_sets(run)):
        yield held_out(name, runs)
    for panel in PANELS:
        yield from _figure(_with_sources(panel, runs), runs)


def evaluated_sets(run: ReportedRun) -> list[str]:
    """Names of the evaluation sets in the run's metrics."""
    return sets_among(key for row in run.evals for key in row)


def _with_sources(panel: Panel, runs: Sequence[ReportedRun]) -> Panel:
    """The panel with a line for each source of a mixture, where its metric is kept by source."""
    of_source = re.compile(rf"source/(.*)/{re.escape(panel.main)}", re.DOTALL)
    keys = (key for run in runs for row in run.train for key in row)
    return replace(panel, metrics=panel.metrics | {m[0]: m[1] for m in map(of_source.fullmatch, keys) if m})


def held_out(name: str, runs: Sequence[ReportedRun]) -> Figure:
    """Held-out accuracy with its interval, one line a run."""
    marks, prefix = [f"eval/{name}/{part}" for part in ("accuracy", *BAND)], f"eval/{name}/outcome/"
    rows = (
        (r.name, e["step"], *(e.get(m, math.nan) for m in marks))
        for r in runs
        for e in r.evals
        if marks[0] in e
    )
    drawn = numbers(("run", "step", "accuracy", *BAND), rows)
    lines = series(drawn, "run", {run.name: run.name for run in runs}, "step", "accuracy", BAND)
    counted = sorted(
        max(int(sum(v for k, v in e.items() if k.startswith(prefix))) for e in run.evals)
        for run in runs
        if name in evaluated_sets(run)
    )
    samples = " to ".join(str(n) for n in dict.fromkeys((counted[0], counted[-1])))
    words, known = {"set": name, "samples": samples}, [line for line in lines if len(line.rows)]
    return described("held_out", drawn, words, name=f"eval_{slug(name)}", lines=known, steps=True)


def _figure(panel: Panel, runs: Sequence[ReportedRun]) -> Iterator[Figure]:
    """Without lines that have no points or only repeat the first metric; none where no line is left."""
    if len(runs) > 1:
        wanted = [(run.name, panel.main, run) for run in runs]
    else:
        wanted = [(label, metric, runs[0]) for metric, label in panel.metrics.items()]
    found = [(label, m, [(row["step"], row[m]) for row in run.train if m in row]) for label, m, run in wanted]
    first = found[0][2]
    kept = [
        (label, m, points) for label, m, points in found if points and (m == panel.main or points != first)
    ]
    if not kept:
        return
    labels, drawn = {label: label for label, *_ in kept}, {metric for _, metric, _ in kept}
    rows = ((label, metric, *point) for label, metric, points in kept for point in points)
    table = numbers(("line", "metric", "step", "value"), rows)
    lowest, highest = pc.min_max(table["value"]).as_py().values()
    shown, axes = table, dict[str, Any](ylabel=panel.unit)
    if panel.log:  # without what a logarithmic axis cannot show
        seen = pc.if_else(pc.greater(table["value"], 0), table["value"], math.nan)
        shown = table.drop_columns("value").append_column("value", seen)
        axes |= {"yscale": "log"} if highest > 0 else {}
    elif lowest >= 0:
        axes |= {"ylim": (0, None)}
    lines = [
        replace(line, style={"lw": 1.8 if n < LONG else 1.1, "marker": "." if n == 1 else ""})
        for line in series(shown, "line", labels, "step", "value")
        for n in [len(line.rows)]
    ]
    longest = max(len(points) for *_, points in kept)
    caption = f"{panel.about(len(drawn))} {longest} {'step' if longest == 1 else 'steps'}."
    columns = 3 if len(labels) == 3 and panel.metrics[panel.main] in labels else 2
    name = f"train_{panel.name}"
    yield Figure(name, panel.title, caption, table, lines, axes, steps=True, legend=columns)
