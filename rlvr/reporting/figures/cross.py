"""Does the shift matter? Accuracy by share of switched tokens, with bands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pyarrow as pa

from rlvr.analysis.tables import where
from rlvr.reporting.figures.canvas import SMALL, THIN, Figure, Line, described
from rlvr.reporting.sources import Cross

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RULE_LABELS = {"js": "high JS", "random": "random", "entropy": "high entropy", "earliest": "earliest"}
DIRECTIONS = {"forward": ("base", "policy", "recover"), "reverse": ("policy", "base", "destroy")}
BAND = ("ci_low", "ci_high")


def cross_figures(cross: Cross) -> Iterator[Figure]:
    """One figure for each direction that was run."""
    for direction in DIRECTIONS:
        rows = where(cross.budgets, direction=direction)
        if len(rows):
            yield _figure(cross, direction, rows)


def _figure(cross: Cross, direction: str, rows: pa.Table) -> Figure:
    primary, intervening, what = DIRECTIONS[direction]
    ends = cross.content["endpoints"]
    run = set(rows["rule"].to_pylist())
    rules = [rule for rule in RULE_LABELS if rule in run]
    rules += sorted(run - set(rules))  # rules that a user has added

    def line(place: int, rule: str) -> Line:
        own = where(rows, rule=rule).sort_by("share")
        points = {of: [ends[primary][of], *own[of].to_pylist()] for of in ("accuracy", *BAND)}
        points["switched"] = [0.0, *(100 * share for share in own["share"].to_pylist())]
        return Line(place, RULE_LABELS.get(rule, rule), pa.table(points), "switched", "accuracy", BAND)

    def endpoints(axes: Axes) -> None:
        lower = min((primary, intervening), key=lambda end: ends[end]["accuracy"])
        for end in (primary, intervening):
            level, beside = ends[end]["accuracy"], "top" if end == lower else "bottom"
            axes.axhline(level, **THIN)
            scale = axes.get_yaxis_transform()
            axes.text(1.0, level, f"{end} alone ", ha="right", va=beside, transform=scale, **SMALL)

    widest = max(100 * max(rows["share"].to_pylist()), 1.0)
    problems, responses = rows["problems"][0].as_py(), rows["responses"][0].as_py()
    words = {
        "direction": direction.capitalize(),
        "primary": primary,
        "intervening": intervening,
        "what": what,
    }
    return described(
        "cross",
        rows,
        words | {"problems": problems, "samples": responses // problems},
        name=f"cross_{direction}",
        lines=[line(place, rule) for place, rule in enumerate(rules)],
        axes={"xlim": (0, 1.04 * widest)},
        more=endpoints,
        digits=10,
    )
