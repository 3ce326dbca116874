"""The curves of training: one run in detail, or several runs over each other."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlvr.reporting.canvas import Cell, Figure, band, colour, dash, legend, marker, slug, whole_steps
from rlvr.reporting.sources import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, slots=True)
class Panel:
    """One figure of metrics by step; with several runs only the first metric is drawn, once a run."""

    name: str
    title: str
    unit: str  # label of the y axis
    metrics: tuple[tuple[str, str], ...]  # name in metrics.jsonl, label; the main one first
    caption: str
    log: bool = False


PANELS = (
    Panel(
        "train_accuracy",
        "Accuracy on training prompts",
        "share of right answers",
        (("accuracy", "right answers"), ("reward/mean", "mean reward")),
        "Samples in the groups trained on, each step by the weights before its update. Dynamic sampling, where "
        "it is on, drops groups that are all right or all wrong, which pulls the share towards one half.",
    ),
    Panel(
        "train_js",
        "Divergence from the base while training",
        "JS(policy, base) [nats]",
        (
            ("js_base/mean", "mean"),
            ("js_base/p99", "99 %"),
            ("js_base/p95", "95 %"),
            ("js_base/p50", "median"),
        ),
        "Exact over the vocabulary, at most ln 2 = 0.693, at every token of the batch, scored before the update: "
        "mean and percentiles over tokens. A median at zero below a rising 99th percentile means a sparse shift.",
    ),
    Panel(
        "train_weight",
        "Weight of the tokens",
        "weight",
        (
            ("token_weight/mean", "mean"),
            ("token_weight/p99", "99 %"),
            ("token_weight/p50", "median"),
            ("token_weight/p1", "1 %"),
        ),
        "What the token-advantage plug-in multiplied each token's advantage with: mean and percentiles over the "
        "tokens of the batch. 1 leaves a token as it is.",
    ),
    Panel(
        "train_entropy",
        "Entropy of the policy",
        "entropy [nats]",
        (("entropy/mean", "mean"), ("entropy/p95", "95 %")),
        "Of the next-token distribution over the whole vocabulary, over the tokens of the batch. A fall to zero "
        "means that the samples no longer differ and nothing is left to learn from.",
    ),
    Panel(
        "train_length",
        "Length of responses",
        "tokens",
        (("length/mean", "mean"), ("length/max", "longest")),
        "Tokens of the samples trained on, the end token included.",
    ),
    Panel(
        "train_gradient",
        "Gradient",
        "norm",
        (("grad_norm", "norm"),),
        "L2 norm before clipping, mean over the updates of a step.",
    ),
    Panel(
        "train_clip",
        "Clipped tokens",
        "share of tokens",
        (("clip/high", "above"), ("clip/low", "below")),
        "Share of the tokens whose probability ratio was held back by the upper and by the lower bound.",
    ),
    Panel(
        "train_mismatch",
        "Rollout engine against learner",
        "|log-prob difference| [nats]",
        (("mismatch/mean", "mean"), ("mismatch/max", "largest")),
        "Sampled tokens, logarithmic axis. Both engines run the same weights: anything but rounding is a fault.",
        log=True,
    ),
    Panel(
        "train_seconds",
        "Time of a step",
        "seconds",
        (
            ("seconds/step", "step"),
            ("seconds/generate", "generate"),
            ("seconds/score", "score"),
            ("seconds/update", "update"),
        ),
        "Wall time of a step and of its three heaviest phases, on the machine that trained.",
    ),
)


def training_figures(runs: Sequence[Run]) -> Iterator[Figure]:
    """Every figure for which the runs have numbers."""
    for name in dict.fromkeys(name for run in runs for name in evaluated_sets(run)):
        yield held_out(name, runs)
    for panel in PANELS:
        lines = _lines(panel, runs)
        if lines:
            yield _panel_figure(panel, lines)


def evaluated_sets(run: Run) -> list[str]:
    """Names of the evaluation sets in the run's metrics."""
    keys = (key for row in run.evals for key in row if key.startswith("eval/") and key.endswith("/accuracy"))
    return list(dict.fromkeys(key.removeprefix("eval/").removesuffix("/accuracy") for key in keys))


def held_out(name: str, runs: Sequence[Run]) -> Figure:
    """Held-out accuracy with its interval, one line a run."""
    rows: list[tuple[Cell, ...]] = []
    for run in runs:
        marks = [f"eval/{name}/{part}" for part in ("accuracy", "ci_low", "ci_high")]
        rows += [(run.name, e["step"], *(e[m] for m in marks)) for e in run.evals if marks[0] in e]
    counted = [_counted(run, name) for run in runs]
    samples = f"{min(counted)}" if min(counted) == max(counted) else f"{min(counted)} to {max(counted)}"

    def draw(axes: Axes) -> None:
        for i, run in enumerate(runs):
            own: Any = [row[1:] for row in rows if row[0] == run.name]
            if own:
                step, mean, low, high = zip(*own, strict=True)
                band(axes, step, low, high, i)
                axes.plot(step, mean, color=colour(i), ls=dash(i), marker=marker(i), label=run.name)
        axes.set(ylabel="accuracy", ylim=(0, 1.02))
        whole_steps(axes)
        legend(axes)

    return Figure(
        f"eval_{slug(name)}",
        f"Held-out accuracy: {name}",
        f"Share of right answers among {samples} responses to problems that are not trained on. Band: 95 % interval, "
        "clustered by problem.",
        ("run", "step", "accuracy", "ci_low", "ci_high"),
        tuple(rows),
        draw,
    )


def _counted(run: Run, name: str) -> int:
    prefix = f"eval/{name}/outcome/"
    return max((int(sum(v for k, v in e.items() if k.startswith(prefix))) for e in run.evals), default=0)


@dataclass(frozen=True, slots=True)
class _Line:
    label: str
    metric: str
    steps: list[int]
    values: list[float]


def _lines(panel: Panel, runs: Sequence[Run]) -> list[_Line]:
    if len(runs) == 1:
        lines = [_line(runs[0], metric, label) for metric, label in panel.metrics]
    else:
        lines = [_line(run, panel.metrics[0][0], run.name) for run in runs]
    first = lines[0]
    twins = [line for line in lines[1:] if line.metric != first.metric and line.values == first.values]
    return [line for line in lines if line.steps and line not in twins]


def _line(run: Run, metric: str, label: str) -> _Line:
    rows = [row for row in run.train if metric in row]
    return _Line(label, metric, [row["step"] for row in rows], [row[metric] for row in rows])


def _panel_figure(panel: Panel, lines: Sequence[_Line]) -> Figure:
    rows = [
        (line.label, line.metric, s, v)
        for line in lines
        for s, v in zip(line.steps, line.values, strict=True)
    ]

    def draw(axes: Axes) -> None:
        for i, line in enumerate(lines):
            values = [v if v > 0 else math.nan for v in line.values] if panel.log else line.values
            width = 1.8 if len(line.steps) < 200 else 1.1
            mark = "." if len(line.steps) == 1 else ""
            axes.plot(
                line.steps, values, color=colour(i), ls=dash(i), lw=width, label=line.label, marker=mark
            )
        axes.set(ylabel=panel.unit)
        whole_steps(axes)
        if panel.log and any(v > 0 for line in lines for v in line.values):
            axes.set_yscale("log")
        elif not panel.log and all(v >= 0 for line in lines for v in line.values):
            axes.set_ylim(bottom=0)
        legend(axes, columns=3 if len(lines) == 3 and panel.metrics[0][1] == lines[0].label else 2)

    steps = max(len(line.steps) for line in lines)
    main = "" if len({line.metric for line in lines}) > 1 else f" Drawn: {lines[0].metric}."
    return Figure(
        panel.name,
        panel.title,
        f"{panel.caption}{main} {steps} steps.",
        ("line", "metric", "step", "value"),
        tuple(rows),
        draw,
    )
