"""The curves of training: one run in detail, or several runs over each other."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from rlvr.reporting.figures.canvas import Figure, draw_line, numbers, slug, whole_steps
from rlvr.reporting.sources import ReportedRun, where

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LONG = 200  # steps from which a line is drawn thinner
WEIGHT_MARKS = {"mean": "mean", "99 %": "p99", "median": "p50", "1 %": "p1"}
BAND = ("ci_low", "ci_high")
Lines = dict[tuple[str, str], list[tuple[int, float]]]  # label and metric -> steps and values


@dataclass(frozen=True, slots=True)
class Panel:
    """One figure of metrics by step; with several runs only the first metric is drawn, once a run."""

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


PANELS = (
    Panel(
        "train_accuracy",
        "Accuracy on training prompts",
        "share of right answers",
        {"accuracy": "right answers", "reward/mean": "mean reward"},
        "Samples in the groups trained on, each step by the weights before its update. Dynamic sampling, where "
        "it is on, drops groups that are all right or all wrong, which pulls the share towards one half.",
    ),
    Panel(
        "train_js",
        "Divergence from the base while training",
        "JS(policy, base) [nats]",
        {"js_base/mean": "mean", "js_base/p99": "99 %", "js_base/p95": "95 %", "js_base/p50": "median"},
        "Exact over the vocabulary, at most ln 2 = 0.693, at every token of the batch, scored before the update: "
        "mean and percentiles over tokens. A median at zero below a rising 99th percentile means a sparse shift.",
    ),
    Panel(
        "train_weight",
        "Weight of the tokens",
        "weight",
        {f"token_weight/{mark}": label for label, mark in WEIGHT_MARKS.items()},
        "What the token-advantage plug-in multiplied each token's advantage with: mean and percentiles over the "
        "tokens of the batch. 1 leaves a token as it is.",
    ),
    Panel(
        "train_entropy",
        "Entropy of the policy",
        "entropy [nats]",
        {"entropy/mean": "mean", "entropy/p95": "95 %"},
        "Of the next-token distribution over the whole vocabulary, over the tokens of the batch. A fall to zero "
        "means that the samples no longer differ and nothing is left to learn from.",
    ),
    Panel(
        "train_length",
        "Length of responses",
        "tokens",
        {"length/mean": "mean", "length/max": "longest"},
        "Tokens of the samples trained on, the end token included.",
    ),
    Panel(
        "train_gradient",
        "Gradient",
        "norm",
        {"grad_norm": "norm"},
        "L2 norm before clipping, mean over the updates of a step.",
    ),
    Panel(
        "train_clip",
        "Clipped tokens",
        "share of tokens",
        {"clip/high": "above", "clip/low": "below"},
        "Share of the tokens whose probability ratio was held back by the upper and by the lower bound.",
    ),
    Panel(
        "train_mismatch",
        "Rollout engine against learner",
        "|log-prob difference| [nats]",
        {"mismatch/mean": "mean", "mismatch/max": "largest"},
        "Sampled tokens, logarithmic axis. Both engines run the same weights: anything but rounding is a fault.",
        log=True,
    ),
    Panel(
        "train_seconds",
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
    marks = [f"eval/{name}/{part}" for part in ("accuracy", *BAND)]
    rows = ((r.name, e["step"], *(e[m] for m in marks)) for r in runs for e in r.evals if marks[0] in e)
    drawn = numbers(("run", "step", "accuracy", *BAND), rows)

    def draw(axes: Axes) -> None:
        for i, run in enumerate(runs):
            if len(own := where(drawn, run=run.name)):
                draw_line(axes, i, own, "step", "accuracy", run.name, band=BAND)
        axes.set(ylabel="accuracy", ylim=(0, 1.02))
        whole_steps(axes)

    counted = sorted({_counted(run, name) for run in runs})
    samples = " to ".join(str(n) for n in dict.fromkeys((counted[0], counted[-1])))
    return Figure(
        f"eval_{slug(name)}",
        f"Held-out accuracy: {name}",
        f"Share of right answers among {samples} responses to problems that are not trained on. Band: 95 % interval, "
        "clustered by problem.",
        drawn,
        draw,
    )


def _counted(run: ReportedRun, name: str) -> int:
    prefix = f"eval/{name}/outcome/"
    return max((int(sum(v for k, v in e.items() if k.startswith(prefix))) for e in run.evals), default=0)


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
    labels, metrics = [label for label, _ in lines], {metric for _, metric in lines}
    rows = ((*key, *point) for key, points in lines.items() for point in points)
    drawn = numbers(("line", "metric", "step", "value"), rows)
    lowest, highest = pc.min_max(drawn["value"]).as_py().values()

    def draw(axes: Axes) -> None:
        for i, label in enumerate(labels):
            own = where(drawn, line=label)
            if panel.log:
                seen = pc.if_else(pc.greater(own["value"], 0), own["value"], math.nan)
                own = own.drop_columns("value").append_column("value", seen)
            style: dict[str, Any] = {
                "lw": 1.8 if len(own) < LONG else 1.1,
                "marker": "." if len(own) == 1 else "",
            }
            draw_line(axes, i, own, "step", "value", label, **style)
        axes.set(ylabel=panel.unit)
        whole_steps(axes)
        if panel.log and highest > 0:
            axes.set_yscale("log")
        elif not panel.log and lowest >= 0:
            axes.set_ylim(bottom=0)

    only = "" if len(metrics) > 1 else f" Drawn: {min(metrics)}."
    caption = f"{panel.caption}{only} {max(map(len, lines.values()))} steps."
    three = len(labels) == 3 and labels[0] == panel.metrics[panel.main]
    return Figure(panel.name, panel.title, caption, drawn, draw, legend=3 if three else 2)
