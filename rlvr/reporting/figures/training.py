"""The curves of training: one run in detail, or several runs over each other."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow.compute as pc

from rlvr.metrics import sets_among
from rlvr.reporting.figures.canvas import TEXTS, Figure, described, numbers, series, slug
from rlvr.reporting.sources import ReportedRun

LONG = 200  # steps from which a line is drawn thinner
BAND = ("ci_low", "ci_high")
Lines = dict[tuple[str, str], list[tuple[int, float]]]  # label and metric -> steps and values


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
    for panel in (_with_sources(panel, runs) for panel in PANELS):
        if lines := _lines(panel, runs):
            yield _figure(panel, lines)


def evaluated_sets(run: ReportedRun) -> list[str]:
    """Names of the evaluation sets in the run's metrics."""
    return sets_among(key for row in run.evals for key in row)


def _with_sources(panel: Panel, runs: Sequence[ReportedRun]) -> Panel:
    """The panel with a line for each source of a mixture, where its metric is kept by source."""
    found = {
        key: key.removeprefix("source/").removesuffix(f"/{panel.main}")
        for run in runs
        for row in run.train
        for key in row
        if key.startswith("source/") and key.endswith(f"/{panel.main}")
    }
    return replace(panel, metrics=panel.metrics | found)


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
    drawn_lines = [line for line in lines if len(line.rows)]
    words = {"set": name, "samples": samples}
    return described("held_out", drawn, words, name=f"eval_{slug(name)}", lines=drawn_lines, steps=True)


def _lines(panel: Panel, runs: Sequence[ReportedRun]) -> Lines:
    """Without those that have no points or only repeat the first metric."""
    several = len(runs) > 1
    metrics = {panel.main: ""} if several else panel.metrics
    lines = {
        (run.name if several else label, metric): [
            (row["step"], row[metric]) for row in run.train if metric in row
        ]
        for run in runs
        for metric, label in metrics.items()
    }
    first = next(iter(lines.values()))
    return {
        key: points for key, points in lines.items() if points and (key[1] == panel.main or points != first)
    }


def _figure(panel: Panel, lines: Lines) -> Figure:
    labels, metrics = {label: label for label, _ in lines}, {metric for _, metric in lines}
    rows = ((*key, *point) for key, points in lines.items() for point in points)
    table = numbers(("line", "metric", "step", "value"), rows)
    drawn, (lowest, highest) = table, pc.min_max(table["value"]).as_py().values()
    axes: dict[str, Any] = {"ylabel": panel.unit}
    if panel.log:  # without what a logarithmic axis cannot show
        seen = pc.if_else(pc.greater(table["value"], 0), table["value"], math.nan)
        drawn = table.drop_columns("value").append_column("value", seen)
        axes |= {"yscale": "log"} if highest > 0 else {}
    elif lowest >= 0:
        axes |= {"ylim": (0, None)}
    found = series(drawn, "line", labels, "step", "value")
    styled = [
        replace(line, style={"lw": 1.8 if n < LONG else 1.1, "marker": "." if n == 1 else ""})
        for line in found
        for n in [len(line.rows)]
    ]
    longest = max(map(len, lines.values()))
    caption = f"{panel.about(len(metrics))} {longest} {'step' if longest == 1 else 'steps'}."
    three = len(labels) == 3 and panel.metrics[panel.main] in labels
    name, columns = f"train_{panel.name}", 3 if three else 2
    return Figure(name, panel.title, caption, table, styled, axes, steps=True, legend=columns)
