"""Where the distribution moved, what happens at the moved positions, and what truncation does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rlvr.analysis.loaded import LoadedAnalysis
from rlvr.analysis.tables import known, where
from rlvr.reporting.figures.canvas import (
    SMALL,
    THIN,
    Figure,
    Line,
    colour,
    described,
    own_style,
    series,
)
from rlvr.reporting.theme import RAMP, ROLES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PERCENTILES = {"mean": "mean", "p90": "90 %", "p95": "95 %", "p99": "99 %"}
DIGITS = 10  # of the numbers in the files, one more than the tables have
MEASURES = {"js": "exact", "js_top_p": "top-p"}
SHADES = (1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)  # shares at which the next shade of the grid starts
LEAST = {"entropy": 7e-4, "js": 5e-7}  # where the bins of the grid that begin at 0 are drawn
EQUAL = pa.table({"js": [0, 0.69]})


def shift_figures(a: LoadedAnalysis) -> Iterator[Figure]:
    """Sparsity, evolution, position and entropy; overlap, rank and mass of the candidates; truncation."""
    yield _sparsity(a)
    if len(a.checkpoints) > 1:
        yield _evolution(a)
    yield _along(a, "relative")
    yield _along(a, "from_start")
    yield _entropy_grid(a)
    yield _overlap(a)
    yield _favourites(a, "rank", _ranks)
    yield _favourites(a, "mass", _masses)
    yield _truncation(a)


def _figure(a: LoadedAnalysis, key: str, rows: pa.Table, moved: int = 0, **settings: Any) -> Figure:
    """A figure with what its caption may say of the analysis, and of so many moved positions."""
    cfg, whose = a.content["config"], a.trajectories[0]
    tables = cfg["tables"]
    draws = f"{tables['bootstrap']} bootstrap draws of {tables['unit']}s"
    words = {
        "whose": f"{whose}'s responses",
        "tokens": a.scored(whose),
        "sample": " and ".join(f"{a.scored(t):,} tokens of the {t}'s responses" for t in a.trajectories),
        "moved": moved,
        "moved_above": a.moved_above,
        "top_p": cfg["score"]["top_p"],
        "bands": f"Bands and whiskers: 95 % intervals, {draws}.",
    }
    return described(key, rows, words, digits=DIGITS, **settings)


def _ends(name: str) -> tuple[str, str]:
    return f"{name}_low", f"{name}_high"


def _sparsity(a: LoadedAnalysis) -> Figure:
    rows = a.rows("sparsity")
    above = rows.filter(pc.greater(rows["at_most"], 0))

    def moved(axes: Axes) -> None:
        axes.axvline(a.moved_above, **THIN)
        axes.text(a.moved_above, 0.03, "moved → ", ha="right", **SMALL)

    def line(i: int, trajectory: str, j: int, measure: str) -> Line:
        own = where(above, trajectory=trajectory, measure=measure)
        band = _ends("share") if measure == "js" else None
        style = {"ls": own_style(j)["ls"], "marker": None}
        return Line(i, f"{trajectory}, {MEASURES[measure]}", own, "at_most", "share", band, style=style)

    lines = [line(i, t, j, m) for i, t in enumerate(a.trajectories) for j, m in enumerate(MEASURES)]
    return _figure(a, "sparsity", rows, lines=lines, more=moved)


def _evolution(a: LoadedAnalysis) -> Figure:
    found = where(a.table("evolution"), measure="js", trajectory=a.trajectories[0])
    rows = pa.concat_tables(where(found, checkpoint=c) for c in a.checkpoints)
    place = [a.checkpoints.index(checkpoint) for checkpoint in rows["checkpoint"].to_pylist()]
    placed = rows.append_column("place", pa.array(place))

    def name_checkpoints(axes: Axes) -> None:
        last = len(a.checkpoints) - 1
        shown = range(last + 1) if last < 8 else [round(k * last / 7) for k in range(8)]
        short = [c.removeprefix("step_").lstrip("0") or c for c in a.checkpoints]
        axes.set_xticks(shown, [short[k] for k in shown])

    lines = series(placed, "statistic", PERCENTILES, "place", "value", _ends("value"))
    return _figure(a, "evolution", rows, lines=lines, more=name_checkpoints)


def _along(a: LoadedAnalysis, axis: str) -> Figure:
    rows = a.rows("position", axis=axis)
    rows = rows.filter(pc.less(rows["from"], 48.0 if axis == "from_start" else 1.0))
    middle = pc.divide(pc.add(rows["from"], rows["to"]), 2.0) if axis == "relative" else rows["from"]
    placed, whose = rows.append_column("place", middle), {t: f"by the {t}" for t in a.trajectories}
    lines = series(placed, "trajectory", whose, "place", "mean_js", _ends("mean_js"), ms=4)
    return _figure(a, f"position_{axis}", rows, lines=lines)


def _entropy_grid(a: LoadedAnalysis) -> Figure:
    rows = a.rows("js_entropy", trajectory=a.trajectories[0], entropy_of="base")

    def cells(axes: Axes) -> None:
        from matplotlib.patches import Rectangle

        for r in rows.to_pylist():
            x0, x1 = max(r["entropy_from"], LEAST["entropy"]), min(r["entropy_to"], 16.0)
            y0, y1 = max(r["js_from"], LEAST["js"]), min(r["js_to"], 0.75)
            shade = RAMP[1 + sum(r["share"] >= e for e in SHADES)].light
            axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, facecolor=shade, edgecolor="none"))
        axes.axhline(a.moved_above, **THIN)
        axes.set(xscale="log", yscale="log", xlim=(LEAST["entropy"], 16.0), ylim=(LEAST["js"], 1.0))

    return _figure(a, "js_entropy", rows, more=cells)


def _overlap(a: LoadedAnalysis) -> Figure:
    rows = a.rows("overlap", trajectory=a.trajectories[0])

    def groups(axes: Axes) -> None:
        for i, group in enumerate(("moved", "all")):
            own = known(where(rows, group=group), "overlap")
            if len(own):
                x = list(range(len(own)))
                _whiskers(axes, x, own, "overlap", label=f"{group} positions", capsize=2, **own_style(i))
                axes.set_xticks(x, own["k"].to_pylist())

    # Each row counts all the positions of its group.
    moved = max(where(rows, group="moved")["tokens"].to_pylist(), default=0)
    return _figure(a, "overlap", rows, moved, more=groups)


def _whiskers(axes: Axes, x: Sequence[int], rows: pa.Table, name: str, **style: Any) -> None:
    value, low, high = (rows[n].to_numpy() for n in (name, *_ends(name)))
    # The interval of very few bootstrap draws may lie beside the value, and no whisker is shorter than nothing.
    lengths = np.maximum([value - low, high - value], 0.0)
    axes.errorbar(x, value, lengths, elinewidth=1, **style)


def _favourites(a: LoadedAnalysis, table: str, bars: Callable[[Axes, pa.Table], None]) -> Figure:
    """Where the policy's favourite is in the base, at the moved positions."""
    found = a.rows(table, trajectory=a.trajectories[0], direction="policy_in_base", group="moved")
    rows = known(found, "share")
    return _figure(a, table, rows, sum(rows["tokens"].to_pylist()), more=lambda axes: bars(axes, rows))


def _ranks(axes: Axes, rows: pa.Table) -> None:
    own = rows.filter(pc.less_equal(rows["rank_from"], 21))
    bins = zip(own["rank_from"].to_pylist(), own["rank_to"].to_pylist(), strict=True)
    ticks = [f"{low:.0f}-{high:.0f}" if high > low else f"{low:.0f}" for low, high in bins]
    _bars(axes, own["share"].to_numpy(), ticks)
    _whiskers(axes, range(len(own)), own, "share", fmt="none", ecolor=ROLES["ink"].light)


def _masses(axes: Axes, rows: pa.Table) -> None:
    # The first bar holds everything below 0.01.
    own = rows.filter(pc.or_(pc.greater_equal(rows["prob_from"], 0.01), pc.equal(rows["prob_from"], 0.001)))
    heights = np.concatenate([own["share_below"].to_numpy()[:1], own["share"].to_numpy()[1:]])
    _bars(
        axes, heights, [f"{p:g}".lstrip("0") if p >= 0.01 else "<.01" for p in own["prob_from"].to_pylist()]
    )


def _bars(axes: Axes, heights: Sequence[float], ticks: Sequence[str]) -> None:
    x = list(range(len(ticks)))
    axes.bar(x, heights, color=colour(0), width=0.72)
    axes.set_xticks(x, ticks, fontsize=10)
    axes.grid(visible=False, axis="x")


def _truncation(a: LoadedAnalysis) -> Figure:
    rows, top_p = a.rows("truncation"), _ends("mean_js_top_p")
    equal = Line(0, "equal", EQUAL, "js", "js", style={"ls": "-", "marker": None, **THIN})
    whose = {trajectory: trajectory for trajectory in a.trajectories}
    lines = [equal, *series(rows, "trajectory", whose, "mean_js", "mean_js_top_p", top_p)]
    return _figure(a, "truncation", rows, lines=lines, legend=3)
