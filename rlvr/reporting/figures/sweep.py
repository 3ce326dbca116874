"""Figures of a sweep: curves with bands over seeds, differences to the baseline, divergence percentiles."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from rlvr.analysis.sweep.compare import ConditionResult
from rlvr.analysis.sweep.tables import SweepResult, bands
from rlvr.analysis.sweep.training import Curve
from rlvr.analysis.tables import where
from rlvr.reporting.figures.canvas import BAND_ALPHA, HEIGHT, Figure, Line, described, numbers, series, slug
from rlvr.reporting.figures.training import PANELS, Panel
from rlvr.reporting.theme import ROLES
from rlvr.stats.accuracy import Estimate
from rlvr.stats.seeds import PairedDifference

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROW_HEIGHT = 0.21  # inches of a line of the legend
DIFFERENCE_HEIGHT = 0.52  # inches of a condition
LONG = 14  # characters of a label above which a legend has one column
CROWD = 3  # conditions above which bands are fainter, so that they do not hide one another
MARKED = 12  # points up to which each is marked
BAND = ("low", "high")
# What an interval is over -> how far beside its condition it stands, its colour and its mark.
OVER = {"over seeds": (0.0, ROLES["policy"].light, "o"), "over problems": (-0.2, ROLES["base"].light, "s")}
MARKS = {"p99": "99 %", "p95": "95 %", "p90": "90 %", "mean": "mean", "p50": "median"}
LABELS = {f"js_base/{mark}": label for mark, label in MARKS.items()}
TRAINING = tuple(
    panel for panel in PANELS if panel.name in ("accuracy", "reward", "length", "entropy", "weight")
)


def label(condition: str) -> str:
    """A condition in a legend: the recipe's name stands for itself."""
    return condition.removeprefix("recipe-")


def held_out(evaluation: str) -> Panel:
    """The accuracy on an evaluation set."""
    return Panel(
        f"eval_{slug(evaluation)}",
        f"Held-out accuracy: {evaluation}",
        "accuracy",
        {f"eval/{evaluation}/accuracy": "mean"},
        "Problems that are not trained on.",
    )


def overview(found: SweepResult, panels: Sequence[Panel]) -> Iterator[Figure]:
    """Each panel with all conditions, where a run logged its metric."""
    for panel in panels:
        if any(found.curve(condition, panel.main) for condition in found.conditions):
            yield _conditions(found, panel, [*found.conditions])


def one_by_one(found: SweepResult, panels: Sequence[Panel]) -> Iterator[Figure]:
    """Condition by condition, each panel over that of the baseline; a panel has the same axes everywhere."""
    for condition in found.conditions:
        for panel in panels:
            if condition != found.baseline and found.curve(condition, panel.main):
                name, title = f"{panel.name}_{slug(condition)}", f"{label(condition)}: {panel.title.lower()}"
                limits = _limits([found.curve(c, panel.main) for c in found.conditions])
                one = replace(panel, name=name, title=title)
                yield _conditions(found, one, (found.baseline, condition), limits)


def _conditions(
    found: SweepResult, panel: Panel, conditions: Sequence[str], limits: tuple[float, float] | None = None
) -> Figure:
    curves = {c: found.curve(c, panel.main) for c in conditions}
    shown = [c for c, curve in curves.items() if curve]
    drawn = _points("condition", curves)
    columns = 1 if any(len(label(condition)) > LONG for condition in shown) else 2

    alpha = BAND_ALPHA if len(shown) <= CROWD else BAND_ALPHA / 2

    def line(condition: str) -> Line:
        place, own = [*found.conditions].index(condition), where(drawn, condition=condition)
        style: dict[str, Any] = {} if len(own) <= MARKED else {"marker": None}
        return Line(place, label(condition), own, "step", "mean", BAND, alpha, style)

    return Figure(
        panel.name,
        panel.title,
        f"{panel.about(1)} Mean over seeds. {bands(found, conditions)}",
        drawn,
        [line(condition) for condition in shown],
        {"ylabel": panel.unit, "ylim": limits},
        steps=True,
        height=HEIGHT + ROW_HEIGHT * max(0, math.ceil(len(shown) / columns) - 1),
        legend=columns,
    )


def _points(first: str, curves: Mapping[str, Curve]) -> pa.Table:
    rows = ((name, step, *astuple(mean)) for name, curve in curves.items() for step, mean in curve.items())
    return numbers((first, "step", "mean", *BAND, "seeds"), rows)


def _limits(curves: Sequence[Curve]) -> tuple[float, float]:
    ends = [end for one in curves for p in one.values() for end in (p.low, p.high)]
    margin = 0.04 * (max(ends) - min(ends)) or 0.01
    return min(ends) - margin, max(ends) + margin


def differences(found: SweepResult, evaluation: str) -> Iterator[Figure]:
    """The difference of each condition to the baseline, both intervals, and the single seeds, where there is one."""
    rows = [row for row in found.rows if row.evaluation == evaluation and row.gain is not None]
    if not rows:
        return

    def bars(axes: Axes) -> None:
        names = {what: what for what in ("a seed", *OVER)}  # of marks, for the legend: each once
        for i, row in enumerate(rows):
            values = [value for _, value in row.pairs]
            seeds: dict[str, Any] = {"ms": 4.5, "mfc": "none", "color": ROLES["muted"].light}
            axes.plot(values, [0.2 - i] * len(values), "o", label=names.pop("a seed", None), **seeds)
            for what, gain in _gains(row):
                beside, colour, mark = OVER[what]
                half = gain.high - gain.mean if math.isfinite(gain.high) else 0.0
                bar: dict[str, Any] = {"fmt": mark, "color": colour, "capsize": 3.0, "lw": 1.8}
                axes.errorbar(gain.mean, beside - i, xerr=half, label=names.pop(what, None), **bar)
        axes.axvline(0, color=ROLES["ink"].light, lw=1.0)
        axes.set_yticks([-i for i in range(len(rows))], [label(row.condition) for row in rows])
        axes.grid(axis="y", visible=False)

    lines = (line for row in rows for line in _difference_rows(row))
    yield described(
        "difference",
        numbers(("condition", "what", "difference", "low", "high"), lines),
        {"condition": found.baseline, "baseline": label(found.baseline), "set": evaluation},
        name=f"difference_{slug(evaluation)}",
        axes={"ylim": (-len(rows) + 0.45, 0.55)},
        more=bars,
        height=1.5 + DIFFERENCE_HEIGHT * len(rows),
        legend=1,
    )


def _gains(row: ConditionResult) -> Iterator[tuple[str, PairedDifference | Estimate]]:
    """What a condition gains over the baseline, with what its interval is over."""
    for what, gain in zip(OVER, (row.gain, row.problem_gain), strict=True):
        if gain is not None:
            yield what, gain


def _difference_rows(row: ConditionResult) -> Iterator[tuple[object, ...]]:
    for seed, value in row.pairs:
        yield row.condition, f"seed {seed}", value, None, None
    for what, gain in _gains(row):
        yield (
            row.condition,
            what,
            gain.mean,
            *(e if math.isfinite(e) else None for e in (gain.low, gain.high)),
        )


def divergence(found: SweepResult) -> Iterator[Figure]:
    """Percentiles of JS(policy, base) over steps, one figure a condition that logged any, on the same axes."""
    logged = {c: {m: one for m in LABELS if (one := found.curve(c, m))} for c in found.conditions}
    every = [one for curves in logged.values() for one in curves.values()]
    for condition, curves in logged.items():
        if curves:
            low, high = _limits(every)
            drawn, labels = _points("metric", curves), {metric: LABELS[metric] for metric in curves}
            yield described(
                "divergence",
                drawn,
                {"condition": label(condition), "bands": bands(found, [condition])},
                name=f"divergence_{slug(condition)}",
                lines=series(drawn, "metric", labels, "step", "mean", BAND, marker=None),
                axes={"ylim": (max(0.0, low), high)},
                steps=True,
                height=HEIGHT + ROW_HEIGHT,
                legend=3,
            )
