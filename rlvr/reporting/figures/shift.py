"""Where the distribution moved, what happens at the moved positions, and what truncation does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rlvr.analysis.loaded import LoadedAnalysis
from rlvr.analysis.tables import known, where
from rlvr.reporting.figures.canvas import SMALL, THIN, Figure, Line, colour, own_style, series
from rlvr.reporting.theme import RAMP, ROLES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WRITER = {"policy": "policy's responses", "base": "base's responses"}
PERCENTILES = {"mean": "mean", "p90": "90 %", "p95": "95 %", "p99": "99 %"}
DIGITS = 10  # of the numbers in the files, one more than the tables have
MEASURES = {"js": "exact", "js_top_p": "top-p"}
SHADES = (1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)  # shares at which the next shade of the grid starts
LEAST = {"entropy": 7e-4, "js": 5e-7}  # where the bins of the grid that begin at 0 are drawn
JS, OF_BIN = "JS(policy, base) [nats]", "JS, mean of the bin [nats]"
BARS = {"ylabel": "share of moved positions", "ylim": (0, None)}
EQUAL = pa.table({"js": [0, 0.69]})


def shift_figures(a: LoadedAnalysis) -> Iterator[Figure]:
    """Sparsity, evolution, position and entropy; overlap, rank and mass of the candidates; truncation."""
    figures = [
        _sparsity(a),
        *([_evolution(a)] if len(a.checkpoints) > 1 else []),
        _along(a, "relative", "Along the response", "share of the response before the token"),
        _along(a, "from_start", "The first tokens", "tokens of the response before the token"),
        _entropy_grid(a),
        _overlap(a),
        _rank(a),
        _mass(a),
        _truncation(a),
    ]
    return (replace(figure, digits=DIGITS) for figure in figures)


def _ends(name: str) -> tuple[str, str]:
    return f"{name}_low", f"{name}_high"


def _bands(a: LoadedAnalysis) -> str:
    tables = a.content["config"]["tables"]
    return f"Bands and whiskers: 95 % intervals, {tables['bootstrap']} bootstrap draws of {tables['unit']}s."


def _sample(a: LoadedAnalysis) -> str:
    return " and ".join(f"{a.scored(t):,} tokens of the {WRITER[t]}" for t in a.trajectories)


def _sparsity(a: LoadedAnalysis) -> Figure:
    rows = a.rows("sparsity")
    above = rows.filter(pc.greater(rows["at_most"], 0))

    def moved(axes: Axes) -> None:
        axes.axvline(a.moved_above, **THIN)
        axes.text(a.moved_above, 0.03, "moved → ", ha="right", **SMALL)

    def line(i: int, trajectory: str, j: int, measure: str) -> Line:
        own, label = (
            where(above, trajectory=trajectory, measure=measure),
            f"{trajectory}, {MEASURES[measure]}",
        )
        band = _ends("share") if measure == "js" else None
        style = {"ls": own_style(j)["ls"], "marker": None}
        return Line(i, label, own, "at_most", "share", band, style=style)

    return Figure(
        "sparsity",
        "How sparse the shift is",
        "Share of positions whose divergence is at most the value below. A curve that starts high: most positions "
        "did not move. Exact over the vocabulary, and on nuclei truncated at top-p "
        f"{a.content['config']['score']['top_p']:g}. {_sample(a)}. {_bands(a)}",
        rows.select(("trajectory", "measure", "at_most", "share", *_ends("share"))),
        [line(i, t, j, m) for i, t in enumerate(a.trajectories) for j, m in enumerate(MEASURES)],
        {"xscale": "log", "ylim": (0, 1.02), "xlabel": JS, "ylabel": "share of positions up to it"},
        moved,
    )


def _evolution(a: LoadedAnalysis) -> Figure:
    trajectory = a.trajectories[0]
    found = where(a.table("evolution"), measure="js", trajectory=trajectory)
    rows = pa.concat_tables(where(found, checkpoint=c) for c in a.checkpoints)
    place = [a.checkpoints.index(checkpoint) for checkpoint in rows["checkpoint"].to_pylist()]

    def name_checkpoints(axes: Axes) -> None:
        last = len(a.checkpoints) - 1
        shown = range(last + 1) if last < 8 else [round(k * last / 7) for k in range(8)]
        short = [c.removeprefix("step_").lstrip("0") or c for c in a.checkpoints]
        axes.set_xticks(shown, [short[k] for k in shown])

    return Figure(
        "evolution",
        "Over the checkpoints",
        "Mean and percentiles of the exact divergence over positions, every checkpoint on the same responses "
        f"({a.scored(trajectory):,} tokens of the {WRITER[trajectory]}). Upper percentiles that rise fastest mean "
        f"that the change concentrates. {_bands(a)}",
        rows.select(("checkpoint", "trajectory", "statistic", "value", *_ends("value"))),
        series(
            rows.append_column("place", pa.array(place)),
            "statistic",
            PERCENTILES,
            "place",
            "value",
            _ends("value"),
        ),
        {"xlabel": "checkpoint (step)", "ylabel": JS, "ylim": (0, None)},
        name_checkpoints,
    )


def _along(a: LoadedAnalysis, axis: str, title: str, label: str) -> Figure:
    rows = a.rows("position", axis=axis)
    rows = rows.filter(pc.less(rows["from"], 48.0 if axis == "from_start" else 1.0))
    middle = pc.divide(pc.add(rows["from"], rows["to"]), 2.0) if axis == "relative" else rows["from"]
    placed, whose = rows.append_column("place", middle), {t: f"by the {t}" for t in a.trajectories}
    return Figure(
        f"position_{axis}",
        title,
        f"Mean exact divergence by position, {_sample(a)}. {_bands(a)} Bins with few tokens have wide ones; the table "
        "has the counts.",
        rows.select(("trajectory", "from", "to", "tokens", "mean_js", *_ends("mean_js"))),
        series(placed, "trajectory", whose, "place", "mean_js", _ends("mean_js"), ms=4),
        {"xlabel": label, "ylabel": "mean JS [nats]", "ylim": (0, None)},
    )


def _entropy_grid(a: LoadedAnalysis) -> Figure:
    trajectory = a.trajectories[0]
    rows = a.rows("js_entropy", trajectory=trajectory, entropy_of="base")

    def cells(axes: Axes) -> None:
        from matplotlib.patches import Rectangle

        for r in rows.to_pylist():
            x0, x1 = max(r["entropy_from"], LEAST["entropy"]), min(r["entropy_to"], 16.0)
            y0, y1 = max(r["js_from"], LEAST["js"]), min(r["js_to"], 0.75)
            shade = RAMP[1 + sum(r["share"] >= e for e in SHADES)].light
            axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, facecolor=shade, edgecolor="none"))
        axes.axhline(a.moved_above, **THIN)
        axes.set(xscale="log", yscale="log", xlim=(LEAST["entropy"], 16.0), ylim=(LEAST["js"], 1.0))

    return Figure(
        "js_entropy",
        "Divergence against entropy",
        f"Where the {a.scored(trajectory):,} tokens of the {WRITER[trajectory]} lie. The stronger the shade, the more "
        "tokens: below 0.01 %, then from 0.01, 0.1, 0.3, 1, 3 and 10 % of all tokens per cell. Above the "
        "line: moved. The leftmost column and the lowest row also hold whatever is smaller. Moved tokens over a "
        "wide range of entropy mean that divergence is not a proxy of entropy.",
        rows.select(("trajectory", "entropy_from", "entropy_to", "js_from", "js_to", "tokens", "share")),
        axes={"xlabel": "entropy of the base [nats]", "ylabel": JS},
        more=cells,
    )


def _overlap(a: LoadedAnalysis) -> Figure:
    trajectory = a.trajectories[0]
    rows = a.rows("overlap", trajectory=trajectory)

    def groups(axes: Axes) -> None:
        for i, group in enumerate(("moved", "all")):
            own = known(where(rows, group=group), "overlap")
            if len(own):
                x = list(range(len(own)))
                _whiskers(axes, x, own, "overlap", label=f"{group} positions", capsize=2, **own_style(i))
                axes.set_xticks(x, own["k"].to_pylist())

    # Each row counts all the positions of its group.
    moved = max(where(rows, group="moved")["tokens"].to_pylist(), default=0)
    return Figure(
        "overlap",
        "Do the two models consider the same tokens?",
        f"Mean share of the k most likely tokens that policy and base have in common: {moved:,} moved "
        f"positions (JS > {a.moved_above:g}) against all, on the {WRITER[trajectory]}. {_bands(a)}",
        rows.select(("group", "k", "tokens", "overlap", *_ends("overlap"), "identical")),
        axes={"xlabel": "k: size of both candidate sets", "ylabel": "share in common", "ylim": (0, 1.05)},
        more=groups,
    )


def _whiskers(axes: Axes, x: Sequence[int], rows: pa.Table, name: str, **style: Any) -> None:
    value, low, high = (rows[n].to_numpy() for n in (name, *_ends(name)))
    axes.errorbar(x, value, [value - low, high - value], elinewidth=1, **style)


def _rank(a: LoadedAnalysis) -> Figure:
    rows = _favourites(a, "rank")

    def bars(axes: Axes) -> None:
        own = rows.filter(pc.less_equal(rows["rank_from"], 21))
        bins = zip(own["rank_from"].to_pylist(), own["rank_to"].to_pylist(), strict=True)
        ticks = [f"{low:.0f}-{high:.0f}" if high > low else f"{low:.0f}" for low, high in bins]
        _bars(axes, own["share"].to_numpy(), ticks)
        _whiskers(axes, range(len(own)), own, "share", fmt="none", ecolor=ROLES["ink"].light)

    return Figure(
        "rank",
        "Was the new favourite likely before?",
        f"{_moved(a, rows)} Rank 1: the favourite did not change. Mass on the first ranks means that training reorders "
        f"candidates rather than finding new ones. {_bands(a)}",
        rows.select(("rank_from", "rank_to", "tokens", "share", *_ends("share"), "share_within")),
        axes=BARS | {"xlabel": "rank in the base of the policy's top token"},
        more=bars,
    )


def _mass(a: LoadedAnalysis) -> Figure:
    rows = _favourites(a, "mass")

    def bars(axes: Axes) -> None:
        # The first bar holds everything below 0.01.
        chosen = pc.or_(pc.greater_equal(rows["prob_from"], 0.01), pc.equal(rows["prob_from"], 0.001))
        own = rows.filter(chosen)
        heights = np.concatenate([own["share_below"].to_numpy()[:1], own["share"].to_numpy()[1:]])
        ticks = [f"{p:g}".lstrip("0") if p >= 0.01 else "<.01" for p in own["prob_from"].to_pylist()]
        _bars(axes, heights, ticks)

    return Figure(
        "mass",
        "How probable was the new favourite?",
        f"{_moved(a, rows)} Little mass below 0.01 means that hardly any favourite is new.",
        rows.select(("prob_from", "prob_to", "tokens", "share", *_ends("share"), "share_below")),
        axes=BARS | {"xlabel": "base's probability of the policy's top token (from)"},
        more=bars,
    )


def _favourites(a: LoadedAnalysis, table: str) -> pa.Table:
    """The policy's favourite in the base, at the moved positions."""
    found = a.rows(table, trajectory=a.trajectories[0], direction="policy_in_base", group="moved")
    return known(found, "share")


def _moved(a: LoadedAnalysis, rows: pa.Table) -> str:
    moved = sum(rows["tokens"].to_pylist())
    return f"{moved:,} moved positions (JS > {a.moved_above:g}) of the {WRITER[a.trajectories[0]]}."


def _bars(axes: Axes, heights: Sequence[float], ticks: Sequence[str]) -> None:
    x = list(range(len(ticks)))
    axes.bar(x, heights, color=colour(0), width=0.72)
    axes.set_xticks(x, ticks, fontsize=10)
    axes.grid(visible=False, axis="x")


def _truncation(a: LoadedAnalysis) -> Figure:
    rows, top_p = a.rows("truncation"), _ends("mean_js_top_p")
    whose = {trajectory: trajectory for trajectory in a.trajectories}
    equal = Line(0, "equal", EQUAL, "js", "js", style={"ls": "-", "marker": None, **THIN})
    return Figure(
        "truncation",
        "What truncation does to the divergence",
        "Positions binned by the exact value; above the line truncation overstates, below it hides. "
        f"{_sample(a)}. {_bands(a)}",
        rows.select(("trajectory", "js_from", "js_to", "tokens", "mean_js", "mean_js_top_p", *top_p)),
        [equal, *series(rows, "trajectory", whose, "mean_js", "mean_js_top_p", top_p)],
        {"xlabel": f"exact {OF_BIN}", "ylabel": f"top-p {OF_BIN}", "ylim": (0, None)},
        legend=3,
    )
