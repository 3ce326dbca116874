"""Figures of a sweep: curves with bands over seeds, differences to the baseline, divergence percentiles."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlvr.analysis.sweep.compare import Row
from rlvr.analysis.sweep.tables import Findings, bands
from rlvr.analysis.sweep.training import Curve
from rlvr.reporting.canvas import (
    BAND_ALPHA,
    HEIGHT,
    Cell,
    Figure,
    band,
    colour,
    dash,
    legend,
    marker,
    slug,
    whole_steps,
)
from rlvr.reporting.colours import ROLES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROW_HEIGHT = 0.21  # inches of a line of the legend
DIFFERENCE_HEIGHT = 0.52  # inches of a condition
LONG = 14  # characters of a label above which a legend has one column
CROWD = 3  # conditions above which bands are fainter, so that they do not hide one another
MARKED = 12  # points up to which each is marked
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


def held_out(found: Findings, evaluation: str) -> Measure:
    """The accuracy on an evaluation set as a measure."""
    return Measure(
        f"eval_{slug(evaluation)}",
        f"eval/{evaluation}/accuracy",
        f"Held-out accuracy: {evaluation}",
        "accuracy",
        "Problems that are not trained on.",
    )


def overview(found: Findings, measure: Measure) -> Figure | None:
    """A measure of all conditions; None where no run logged it."""
    return _curves(found, measure, found.conditions, measure.name, measure.title)


def one_by_one(found: Findings, measures: Sequence[Measure]) -> Iterator[Figure]:
    """Condition by condition, each measure over that of the baseline; a measure has the same axes everywhere."""
    limits = {m.name: _limits([found.curve(c, m.metric) for c in found.conditions]) for m in measures}
    for condition in found.conditions:
        for measure in measures:
            if condition == found.baseline or not found.curve(condition, measure.metric).points:
                continue
            name, title = f"{measure.name}_{slug(condition)}", f"{label(condition)}: {measure.title.lower()}"
            pair = (found.baseline, condition)
            figure = _curves(found, measure, pair, name, title, limits[measure.name])
            if figure is not None:
                yield figure


def _curves(
    found: Findings,
    measure: Measure,
    conditions: Sequence[str],
    name: str,
    title: str,
    limits: tuple[float, float] | None = None,
) -> Figure | None:
    curves = [found.curve(condition, measure.metric) for condition in conditions]
    places = {c: found.conditions.index(c) for c in conditions}
    curves = [one for one in curves if one.points]
    if not curves:
        return None
    alpha = BAND_ALPHA if len(curves) <= CROWD else BAND_ALPHA / 2
    columns = 1 if any(len(label(one.condition)) > LONG for one in curves) else 2

    def draw(axes: Axes) -> None:
        for one in curves:
            place, steps = places[one.condition], [p.step for p in one.points]
            marks = marker(place) if len(steps) <= MARKED else None
            band(axes, steps, [p.low for p in one.points], [p.high for p in one.points], place, alpha)
            axes.plot(
                steps,
                [p.mean for p in one.points],
                color=colour(place),
                ls=dash(place),
                marker=marks,
                label=label(one.condition),
            )
        axes.set_ylabel(measure.unit)
        if limits is not None:
            axes.set_ylim(*limits)
        whole_steps(axes)
        legend(axes, columns)

    lines = math.ceil(len(curves) / columns)
    return Figure(
        name,
        title,
        f"{measure.what} Mean over seeds. {bands(found, conditions)}",
        ("condition", "step", "mean", "low", "high", "seeds"),
        tuple(_rows(curves)),
        draw,
        HEIGHT + ROW_HEIGHT * max(0, lines - 1),
    )


def _rows(curves: Sequence[Curve]) -> Iterator[tuple[Cell, ...]]:
    for one in curves:
        yield from ((one.condition, p.step, p.mean, p.low, p.high, p.seeds) for p in one.points)


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
        ("condition", "what", "difference", "low", "high"),
        tuple(line for row in rows for line in _difference_rows(row)),
        draw,
        1.5 + DIFFERENCE_HEIGHT * len(rows),
    )


def _difference(axes: Axes, place: float, row: Row, *, first: bool) -> None:
    gain, by_problem = row.gain, row.problem_gain
    assert gain is not None
    axes.plot(
        [value for _, value in row.pairs],
        [place + 0.2] * len(row.pairs),
        ls="",
        marker="o",
        ms=4.5,
        mfc="none",
        color=ROLES["muted"].light,
        label="a seed" if first else None,
    )
    half = gain.high - gain.mean if math.isfinite(gain.high) else 0.0
    style: dict[str, Any] = {"capsize": 3.0, "lw": 1.8}
    axes.errorbar(
        gain.mean, place, xerr=half, fmt="o", color=colour(0), label="over seeds" if first else None, **style
    )
    if by_problem is not None:
        half = by_problem.high - by_problem.mean
        text = "over problems" if first else None
        axes.errorbar(by_problem.mean, place - 0.2, xerr=half, fmt="s", color=colour(1), label=text, **style)


def _difference_rows(row: Row) -> Iterator[tuple[Cell, ...]]:
    for seed, value in row.pairs:
        yield (row.condition, f"seed {seed}", value, "", "")
    if row.gain is not None:
        yield (row.condition, "over seeds", row.gain.mean, *_finite(row.gain.low, row.gain.high))
    if row.problem_gain is not None:
        estimate = row.problem_gain
        yield (row.condition, "over problems", estimate.mean, estimate.low, estimate.high)


def _finite(*values: float) -> tuple[Cell, ...]:
    return tuple(value if math.isfinite(value) else "" for value in values)


def divergence(found: Findings) -> Iterator[Figure]:
    """Percentiles of JS(policy, base) over steps, one figure a condition, on the same axes."""
    drawn = {c: [found.curve(c, metric) for metric in LABELS] for c in found.conditions}
    limits = _limits([one for curves in drawn.values() for one in curves])
    for condition, curves in drawn.items():
        if any(one.points for one in curves):
            yield _percentiles(found, condition, [one for one in curves if one.points], limits)


def _percentiles(
    found: Findings, condition: str, curves: Sequence[Curve], limits: tuple[float, float] | None
) -> Figure:
    def draw(axes: Axes) -> None:
        for i, one in enumerate(curves):
            steps = [p.step for p in one.points]
            band(axes, steps, [p.low for p in one.points], [p.high for p in one.points], i)
            axes.plot(
                steps, [p.mean for p in one.points], color=colour(i), ls=dash(i), label=LABELS[one.metric]
            )
        axes.set_ylabel("JS(policy, base) [nats]")
        if limits is not None:
            axes.set_ylim(max(0.0, limits[0]), limits[1])
        whole_steps(axes)
        legend(axes, 3)

    return Figure(
        f"divergence_{slug(condition)}",
        f"{label(condition)}: divergence from the base",
        "Exact over the vocabulary, at most ln 2 = 0.693, over the tokens trained on, before each update: mean over "
        f"seeds of each run's mean and percentiles. {bands(found, [condition])}",
        ("metric", "step", "mean", "low", "high", "seeds"),
        tuple((one.metric, p.step, p.mean, p.low, p.high, p.seeds) for one in curves for p in one.points),
        draw,
        HEIGHT + ROW_HEIGHT,
    )
