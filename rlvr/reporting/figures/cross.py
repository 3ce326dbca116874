"""Does the shift matter? Accuracy by share of switched tokens, with bands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from rlvr.analysis.cross.records import DIRECTIONS, EFFECTIVE_LEVEL, EFFECTIVE_TOLERANCE
from rlvr.analysis.cross.rules import RULES
from rlvr.analysis.tables import where
from rlvr.reporting.figures.canvas import BAND_ALPHA, HEIGHT, SMALL, THIN, Figure, Line, described
from rlvr.reporting.sources import Cross

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MANY = 4  # rules, above which a figure is higher and its bands are fainter
WHAT = {"forward": "recover", "reverse": "destroy"}  # of a direction, in its caption
BAND = ("ci_low", "ci_high")


def cross_figures(cross: Cross) -> Iterator[Figure]:
    """One figure for each direction that was run, and for each thing that its budgets counted."""
    for direction in DIRECTIONS:
        rows = where(cross.budgets, direction=direction)
        effective = pc.starts_with(rows["level"], EFFECTIVE_LEVEL)
        for key, share, chosen in (
            ("cross", "share", pc.invert(effective)),
            ("cross_effective", "effective_share", effective),
        ):
            own = rows.filter(chosen)
            if len(own):
                yield _figure(cross, direction, own, key, share)


def _figure(cross: Cross, direction: str, rows: pa.Table, key: str, share: str) -> Figure:
    primary, intervening = DIRECTIONS[direction]
    ends = cross.content["endpoints"]
    run = set(rows["rule"].to_pylist())
    rules = [*(rule for rule in RULES if rule in run), *sorted(run - RULES.keys())]  # some of another version
    many = len(rules) > MANY

    def line(place: int, rule: str) -> Line:
        own = where(rows, rule=rule).sort_by(share)
        points = {of: [ends[primary][of], *own[of].to_pylist()] for of in ("accuracy", *BAND)}
        points["switched"] = [0.0, *(100 * value for value in own[share].to_pylist())]
        label = RULES[rule].label if rule in RULES else rule
        alpha = BAND_ALPHA / 4 if many else BAND_ALPHA
        named = label.format(primary=primary, intervening=intervening)
        return Line(place, named, pa.table(points), "switched", "accuracy", BAND, alpha)

    def endpoints(axes: Axes) -> None:
        lower = min((primary, intervening), key=lambda end: ends[end]["accuracy"])
        for end in (primary, intervening):
            level, beside = ends[end]["accuracy"], "top" if end == lower else "bottom"
            axes.axhline(level, **THIN)
            scale = axes.get_yaxis_transform()
            axes.text(1.0, level, f"{end} alone ", ha="right", va=beside, transform=scale, **SMALL)

    widest = max(100 * max(rows[share].to_pylist()), 1.0)
    problems, responses = rows["problems"][0].as_py(), rows["responses"][0].as_py()
    words = {
        "direction": direction.capitalize(),
        "primary": primary,
        "intervening": intervening,
        "what": WHAT[direction],
        "tolerance": f"{EFFECTIVE_TOLERANCE:.0%}".replace("%", " %"),
    }
    return described(
        key,
        rows,
        words | {"problems": problems, "samples": responses // problems},
        name=key.replace("cross", f"cross_{direction}"),
        height=HEIGHT * 1.6 if many else HEIGHT,
        lines=[line(place, rule) for place, rule in enumerate(rules)],
        axes={"xlim": (0, 1.04 * widest)},
        more=endpoints,
        digits=10,
    )
