"""Figures of a sweep: curves with bands over seeds, differences to the baseline, divergence percentiles."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from rlvr.analysis.sweep.compare import ConditionResult
from rlvr.analysis.sweep.tables import Findings, bands
from rlvr.analysis.sweep.training import Curve
from rlvr.reporting.figures.canvas import (
    BAND_ALPHA,
    HEIGHT,
    Figure,
    colour,
    draw_line,
    legend,
    marker,
    numbers,
    slug,
    whole_steps,
)
from rlvr.reporting.sources import where
from rlvr.reporting.theme import ROLES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROW_HEIGHT = 0.21  # inches of a line of the legend
DIFFERENCE_HEIGHT = 0.52  # inches of a condition
LONG = 14  # characters of a label above which a legend has one column
CROWD = 3  # conditions above which bands are fainter, so that they do not hide one another
MARKED = 12  # points up to which each is marked
POINT = ("step", "mean", "low", "high", "seeds")
LABELS = {
    "js_base/p99": "99 %",
    "js_base/p95": "95 %",
    "js_base/p90": "90 %",
    "js_base/mean": "mean",
    "js_base/p50": "median",
}


@dataclass(frozen=True, slots=True)
class Measure:
    """A metric that is drawn over steps."""

    name: str  # of the figures' files
    metric: str
    title: str
    unit: str
    what: str


TRAINING = (
    Measure(
        "accuracy",
        "accuracy",
        "Accuracy on training prompts",
        "share of right answers",
        "All samples of a step, by the weights before its update.",
    ),
    Measure(
        "reward",
        "reward/mean",
        "Reward",
        "mean reward",
        "Mean over the samples trained on, shaping included. Dynamic sampling, where it is on, drops groups that "
        "are all right or all wrong.",
    ),
    Measure("length", "length/mean", "Length of responses", "tokens", "Mean of the samples trained on."),
    Measure(
        "entropy",
        "entropy/mean",
        "Entropy of the policy",
        "entropy [nats]",
        "Over the whole vocabulary, mean over the tokens of the batch.",
    ),
    Measure(
        "weight",
        "token_weight/mean",
        "Weight of the tokens",
        "mean weight",
        "What the plug-in multiplied each token's advantage with, mean over the tokens of the batch; 1 leaves a "
        "token as it is. Percentiles are in the table of the end of training.",
    ),
)


def label(condition: str) -> str:
    """A condition in a legend: the recipe's name stands for itself."""
    return condition.removeprefix("recipe-")


def held_out(evaluation: str) -> Measure:
    """The accuracy on an evaluation set as a measure."""
    return Measure(
        f"eval_{slug(evaluation)}",
        f"eval/{evaluation}/accuracy",
        f"Held-out accuracy: {evaluation}",
        "accuracy",
        "Problems that are not trained on.",
    )


def overview(found: Findings, measures: Sequence[Measure]) -> Iterator[Figure]:
    """Each measure of all conditions, where a run logged it."""
    for measure in measures:
        if any(found.curve(condition, measure.metric).points for condition in found.conditions):
            yield _curves(found, measure, found.conditions, measure.name, measure.title)


def one_by_one(found: Findings, measures: Sequence[Measure]) -> Iterator[Figure]:
    """Condition by condition, each measure over that of the baseline; a measure has the same axes everywhere."""
    for condition in found.conditions:
        for measure in measures:
            if condition == found.baseline or not found.curve(condition, measure.metric).points:
                continue
            name, title = f"{measure.name}_{slug(condition)}", f"{label(condition)}: {measure.title.lower()}"
            limits = _limits([found.curve(c, measure.metric) for c in found.conditions])
            yield _curves(found, measure, (found.baseline, condition), name, title, limits)


def _curves(
    found: Findings,
    measure: Measure,
    conditions: Sequence[str],
    name: str,
    title: str,
    limits: tuple[float, float] | None = None,
) -> Figure:
    curves = [found.curve(condition, measure.metric) for condition in conditions]
    drawn = _points("condition", {one.condition: one for one in curves if one.points})
    shown = [one.condition for one in curves if one.points]
    columns = 1 if any(len(label(condition)) > LONG for condition in shown) else 2

    def draw(axes: Axes) -> None:
        alpha = BAND_ALPHA if len(shown) <= CROWD else BAND_ALPHA / 2
        for condition in shown:
            place, own = found.conditions.index(condition), where(drawn, condition=condition)
            _draw_seeds(axes, place, own, label(condition), alpha, marked=len(own) <= MARKED)
        axes.set(ylabel=measure.unit, ylim=limits)
        whole_steps(axes)
        legend(axes, columns)

    return Figure(
        name,
        title,
        f"{measure.what} Mean over seeds. {bands(found, conditions)}",
        drawn,
        draw,
        HEIGHT + ROW_HEIGHT * max(0, math.ceil(len(shown) / columns) - 1),
    )


def _points(first: str, curves: dict[str, Curve]) -> pa.Table:
    rows = ((name, *astuple(point)) for name, one in curves.items() for point in one.points)
    return numbers((first, *POINT), rows)


def _draw_seeds(
    axes: Axes, place: int, own: pa.Table, name: str, alpha: float = BAND_ALPHA, *, marked: bool = False
) -> None:
    marks = marker(place) if marked else None
    draw_line(axes, place, own, "step", "mean", name, band=("low", "high"), alpha=alpha, marker=marks)


def _limits(curves: Sequence[Curve]) -> tuple[float, float] | None:
    ends = [end for one in curves for p in one.points for end in (p.low, p.high)]
    if not ends:
        return None
    margin = 0.04 * (max(ends) - min(ends)) or 0.01
    return min(ends) - margin, max(ends) + margin


def differences(found: Findings, evaluation: str) -> Figure | None:
    """The difference of each condition to the baseline, both intervals, and the single seeds."""
    rows = [row for row in found.rows if row.evaluation == evaluation and row.gain is not None]
    if not rows:
        return None

    def draw(axes: Axes) -> None:
        for i, row in enumerate(rows):
            _difference(axes, -i, row, first=i == 0)
        axes.axvline(0, color=ROLES["ink"].light, lw=1.0)
        axes.set_yticks([-i for i in range(len(rows))], [label(row.condition) for row in rows])
        axes.set(xlabel="difference of accuracy", ylim=(-len(rows) + 0.45, 0.55))
        axes.grid(axis="y", visible=False)
        legend(axes, 1)

    return Figure(
        f"difference_{slug(evaluation)}",
        f"Difference to {label(found.baseline)}: {evaluation}",
        f"Accuracy after training less that of {found.baseline}. Points: one seed against the same seed of the "
        "baseline. Upper bar: 95 % t-interval over seeds, which one seed does not have. Lower bar: 95 % interval over "
        "problems, which takes these runs as given. Neither is corrected for the number of conditions; the p-values "
        "in the table are.",
        numbers(
            ("condition", "what", "difference", "low", "high"),
            (line for row in rows for line in _difference_rows(row)),
        ),
        draw,
        1.5 + DIFFERENCE_HEIGHT * len(rows),
    )


def _difference(axes: Axes, place: float, row: ConditionResult, *, first: bool) -> None:
    def bar(found: Any, y: float, index: int, mark: str, text: str) -> None:
        half = found.high - found.mean if math.isfinite(found.high) else 0.0
        style: dict[str, Any] = {"fmt": mark, "color": colour(index), "capsize": 3.0, "lw": 1.8}
        axes.errorbar(found.mean, y, xerr=half, label=text if first else None, **style)

    values = [value for _, value in row.pairs]
    style: dict[str, Any] = {"ls": "", "marker": "o", "ms": 4.5, "mfc": "none", "color": ROLES["muted"].light}
    axes.plot(values, [place + 0.2] * len(values), label="a seed" if first else None, **style)
    bar(row.gain, place, 0, "o", "over seeds")
    if row.problem_gain is not None:
        bar(row.problem_gain, place - 0.2, 1, "s", "over problems")


def _difference_rows(row: ConditionResult) -> Iterator[tuple[object, ...]]:
    for seed, value in row.pairs:
        yield row.condition, f"seed {seed}", value, None, None
    for what, found in (("over seeds", row.gain), ("over problems", row.problem_gain)):
        if found is not None:
            ends = (end if math.isfinite(end) else None for end in (found.low, found.high))
            yield row.condition, what, found.mean, *ends


def divergence(found: Findings) -> Iterator[Figure]:
    """Percentiles of JS(policy, base) over steps, one figure a condition, on the same axes."""
    drawn = {c: [found.curve(c, metric) for metric in LABELS] for c in found.conditions}
    limits = _limits([one for curves in drawn.values() for one in curves])
    for condition, curves in drawn.items():
        logged = {one.metric: one for one in curves if one.points}
        if logged and limits is not None:
            yield _percentiles(found, condition, logged, (max(0.0, limits[0]), limits[1]))


def _percentiles(
    found: Findings, condition: str, curves: dict[str, Curve], limits: tuple[float, float]
) -> Figure:
    drawn = _points("metric", curves)

    def draw(axes: Axes) -> None:
        for i, metric in enumerate(curves):
            _draw_seeds(axes, i, where(drawn, metric=metric), LABELS[metric])
        axes.set(ylabel="JS(policy, base) [nats]", ylim=limits)
        whole_steps(axes)
        legend(axes, 3)

    return Figure(
        f"divergence_{slug(condition)}",
        f"{label(condition)}: divergence from the base",
        "Exact over the vocabulary, at most ln 2 = 0.693, over the tokens trained on, before each update: mean over "
        f"seeds of each run's mean and percentiles. {bands(found, [condition])}",
        drawn,
        draw,
        HEIGHT + ROW_HEIGHT,
    )
