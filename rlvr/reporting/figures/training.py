"""The curves of training: one run in detail, or several runs over each other."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow.compute as pc

from rlvr.reporting.figures.canvas import Figure, numbers, series, slug
from rlvr.reporting.sources import ReportedRun

LONG = 200  # steps from which a line is drawn thinner
WEIGHT_MARKS = {"mean": "mean", "99 %": "p99", "median": "p50", "1 %": "p1"}
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


PANELS = (
    Panel(
        "accuracy",
        "Accuracy on training prompts",
        "share of right answers",
        {"accuracy": "right answers"},
        "All samples of a step, by the weights before its update, also those of groups that are not trained on.",
    ),
    Panel(
        "reward",
        "Reward",
        "mean reward",
        {"reward/mean": "mean"},
        "Mean over the samples trained on, shaping included. Dynamic sampling, where it is on, drops groups that "
        "are all right or all wrong, which pulls it towards the middle.",
    ),
    Panel(
        "js",
        "Divergence from the base while training",
        "JS(policy, base) [nats]",
        {"js_base/mean": "mean", "js_base/p99": "99 %", "js_base/p95": "95 %", "js_base/p50": "median"},
        "Exact over the vocabulary, at most ln 2 = 0.693, at every token of the batch, scored before the update: "
        "mean and percentiles over tokens. A median at zero below a rising 99th percentile means a sparse shift.",
    ),
    Panel(
        "weight",
        "Weight of the tokens",
        "weight",
        {f"token_weight/{mark}": label for label, mark in WEIGHT_MARKS.items()},
        "What the token-advantage plug-in multiplied each token's advantage with: mean and percentiles over the "
        "tokens of the batch. 1 leaves a token as it is.",
    ),
    Panel(
        "entropy",
        "Entropy of the policy",
        "entropy [nats]",
        {"entropy/mean": "mean", "entropy/p95": "95 %"},
        "Of the next-token distribution over the whole vocabulary, over the tokens of the batch. A fall to zero "
        "means that the samples no longer differ and nothing is left to learn from.",
    ),
    Panel(
        "length",
        "Length of responses",
        "tokens",
        {"length/mean": "mean", "length/max": "longest"},
        "Tokens of the samples trained on, the end token included.",
    ),
    Panel(
        "gradient",
        "Gradient",
        "norm",
        {"grad_norm": "norm"},
        "L2 norm before clipping, mean over the updates of a step.",
    ),
    Panel(
        "clip",
        "Clipped tokens",
        "share of tokens",
        {"clip/high": "above", "clip/low": "below"},
        "Share of the tokens whose probability ratio was held back by the upper and by the lower bound.",
    ),
    Panel(
        "mismatch",
        "Rollout engine against learner",
        "|log-prob difference| [nats]",
        {"mismatch/mean": "mean", "mismatch/max": "largest"},
        "Sampled tokens, logarithmic axis. Both engines run the same weights: anything but rounding is a fault.",
        log=True,
    ),
    Panel(
        "seconds",
        "Time of a step",
        "seconds",
        {f"seconds/{phase}": phase for phase in ("step", "generate", "score", "update")},
        "Wall time of a step and of its three heaviest phases, on the machine that trained.",
    ),
)


def training_figures(runs: Sequence[ReportedRun]) -> Iterator[Figure]:
    """Every figure for which the runs have numbers."""
    for name in dict.fromkeys(name for run in runs for name in evaluated_sets(run)):
        yield held_out(name, runs)
    for panel in PANELS:
        if lines := _lines(panel, runs):
            yield _figure(panel, lines)


def evaluated_sets(run: ReportedRun) -> list[str]:
    """Names of the evaluation sets in the run's metrics."""
    keys = (key for row in run.evals for key in row if key.startswith("eval/") and key.endswith("/accuracy"))
    return list(dict.fromkeys(key.removeprefix("eval/").removesuffix("/accuracy") for key in keys))


def held_out(name: str, runs: Sequence[ReportedRun]) -> Figure:
    """Held-out accuracy with its interval, one line a run."""
    marks, prefix = [f"eval/{name}/{part}" for part in ("accuracy", *BAND)], f"eval/{name}/outcome/"
    rows = ((r.name, e["step"], *(e[m] for m in marks)) for r in runs for e in r.evals if marks[0] in e)
    drawn = numbers(("run", "step", "accuracy", *BAND), rows)
    lines = series(drawn, "run", {run.name: run.name for run in runs}, "step", "accuracy", BAND)
    counted = sorted(
        max((int(sum(v for k, v in e.items() if k.startswith(prefix))) for e in run.evals), default=0)
        for run in runs
    )
    samples = " to ".join(str(n) for n in dict.fromkeys((counted[0], counted[-1])))
    return Figure(
        f"eval_{slug(name)}",
        f"Held-out accuracy: {name}",
        f"Share of right answers among {samples} responses to problems that are not trained on. Band: 95 % interval, "
        "clustered by problem.",
        drawn,
        [line for line in lines if len(line.rows)],
        {"ylabel": "accuracy", "ylim": (0, 1.02)},
        steps=True,
    )


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
    caption = f"{panel.about(len(metrics))} {max(map(len, lines.values()))} steps."
    three = len(labels) == 3 and panel.metrics[panel.main] in labels
    name, columns = f"train_{panel.name}", 3 if three else 2
    return Figure(name, panel.title, caption, table, styled, axes, steps=True, legend=columns)
