"""Where the distribution moved, what happens at the moved positions, and what truncation does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rlvr.reporting.figures.canvas import SMALL, THIN, Figure, colour, draw_line, own_style
from rlvr.reporting.sources import Analysis, known, where
from rlvr.reporting.theme import ROLES, ramp

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WRITER = {"policy": "policy's responses", "base": "base's responses"}
PERCENTILES = {"mean": "mean", "p90": "90 %", "p95": "95 %", "p99": "99 %"}
DIGITS = 10  # of the numbers in the files, one more than the tables have
MEASURES = {"js": "exact", "js_top_p": "top-p"}


def shift_figures(a: Analysis) -> Iterator[Figure]:
    """Sparsity, evolution, position and entropy; overlap, rank and mass of the candidates; truncation."""
    yield _sparsity(a)
    if len(a.checkpoints) > 1:
        yield _evolution(a)
    yield _along(a, "relative", "Along the response", "share of the response before the token")
    yield _along(a, "from_start", "The first tokens", "tokens of the response before the token")
    yield _entropy_grid(a)
    yield _overlap(a)
    yield _rank(a)
    yield _mass(a)
    yield _truncation(a)


def _interval(name: str) -> tuple[str, str]:
    return f"{name}_low", f"{name}_high"


def _with_ends(name: str) -> tuple[str, str, str]:
    return name, *_interval(name)


def _bands(a: Analysis) -> str:
    tables = a.content["config"]["tables"]
    return f"Bands and whiskers: 95 % intervals, {tables['bootstrap']} bootstrap draws of {tables['unit']}s."


def _sample(a: Analysis) -> str:
    return " and ".join(f"{a.tokens(t):,} tokens of the {WRITER[t]}" for t in a.trajectories)


def _sparsity(a: Analysis) -> Figure:
    rows = a.rows("sparsity")

    def draw(axes: Axes) -> None:
        above = rows.filter(pc.greater(rows["at_most"], 0))
        for i, trajectory in enumerate(a.trajectories):
            for j, (measure, label) in enumerate(MEASURES.items()):
                own = where(above, trajectory=trajectory, measure=measure)
                band = _interval("share") if measure == "js" else None
                style: dict[str, Any] = {"ls": own_style(j)["ls"], "marker": None}
                draw_line(axes, i, own, "at_most", "share", f"{trajectory}, {label}", band=band, **style)
        axes.axvline(a.moved_above, **THIN)
        axes.text(a.moved_above, 0.03, "moved → ", ha="right", **SMALL)
        axes.set(xscale="log", ylim=(0, 1.02))
        axes.set(xlabel="JS(policy, base) [nats]", ylabel="share of positions up to it")

    top_p = a.content["config"]["score"]["top_p"]
    return Figure(
        "sparsity",
        "How sparse the shift is",
        "Share of positions whose divergence is at most the value below. A curve that starts high: most positions "
        f"did not move. Exact over the vocabulary, and on nuclei truncated at top-p {top_p:g}. {_sample(a)}. "
        f"{_bands(a)}",
        rows.select(("trajectory", "measure", "at_most", "share", *_interval("share"))),
        draw,
        digits=DIGITS,
    )


def _evolution(a: Analysis) -> Figure:
    trajectory = a.trajectories[0]
    found = where(a.tables["evolution"], measure="js", trajectory=trajectory)
    rows = pa.concat_tables(where(found, checkpoint=c) for c in a.checkpoints)

    def draw(axes: Axes) -> None:
        x = list(range(len(a.checkpoints)))
        for i, (statistic, label) in enumerate(PERCENTILES.items()):
            own = where(rows, statistic=statistic).append_column("place", pa.array(x))
            draw_line(axes, i, own, "place", "value", label, band=_interval("value"))
        short = [c.removeprefix("step_").lstrip("0") or c for c in a.checkpoints]
        shown = x if len(x) <= 8 else [round(k * (len(x) - 1) / 7) for k in range(8)]
        axes.set_xticks(shown, [short[k] for k in shown])
        axes.set(xlabel="checkpoint (step)", ylabel="JS(policy, base) [nats]", ylim=(0, None))

    return Figure(
        "evolution",
        "Over the checkpoints",
        "Mean and percentiles of the exact divergence over positions, every checkpoint on the same responses "
        f"({a.tokens(trajectory):,} tokens of the {WRITER[trajectory]}). Upper percentiles that rise fastest mean "
        f"that the change concentrates. {_bands(a)}",
        rows.select(("checkpoint", "trajectory", "statistic", "value", *_interval("value"))),
        draw,
        digits=DIGITS,
    )


def _along(a: Analysis, axis: str, title: str, label: str) -> Figure:
    rows = a.rows("position", axis=axis)
    rows = rows.filter(pc.less(rows["from"], 48.0 if axis == "from_start" else 1.0))
    middle = pc.divide(pc.add(rows["from"], rows["to"]), 2.0) if axis == "relative" else rows["from"]
    placed = rows.append_column("place", middle)

    def draw(axes: Axes) -> None:
        for i, trajectory in enumerate(a.trajectories):
            own, band = where(placed, trajectory=trajectory), _interval("mean_js")
            name = f"by the {trajectory}"
            draw_line(axes, i, own, "place", "mean_js", name, band=band, ms=4)
        axes.set(xlabel=label, ylabel="mean JS [nats]", ylim=(0, None))

    return Figure(
        f"position_{axis}",
        title,
        f"Mean exact divergence by position, {_sample(a)}. {_bands(a)} Bins with few tokens have wide ones; the table "
        "has the counts.",
        rows.select(("trajectory", "from", "to", "tokens", "mean_js", *_interval("mean_js"))),
        draw,
        digits=DIGITS,
    )


def _entropy_grid(a: Analysis) -> Figure:
    trajectory = a.trajectories[0]
    rows = a.rows("js_entropy", trajectory=trajectory, entropy_of="base")
    edges = (1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)  # shares at which the next shade starts
    low = {"entropy": 7e-4, "js": 5e-7}  # where the bins that begin at 0 are drawn

    def draw(axes: Axes) -> None:
        from matplotlib.patches import Rectangle

        for r in rows.to_pylist():
            x0, x1 = max(r["entropy_from"], low["entropy"]), min(r["entropy_to"], 16.0)
            y0, y1 = max(r["js_from"], low["js"]), min(r["js_to"], 0.75)
            shade = ramp()[1 + sum(r["share"] >= e for e in edges)].light
            axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, facecolor=shade, edgecolor="none"))
        axes.axhline(a.moved_above, **THIN)
        axes.set(xscale="log", yscale="log", xlim=(low["entropy"], 16.0), ylim=(low["js"], 1.0))
        axes.set(xlabel="entropy of the base [nats]", ylabel="JS(policy, base) [nats]")

    return Figure(
        "js_entropy",
        "Divergence against entropy",
        f"Where the {a.tokens(trajectory):,} tokens of the {WRITER[trajectory]} lie. The stronger the shade, the more "
        "tokens: below 0.01 %, then from 0.01, 0.1, 0.3, 1, 3 and 10 % of all tokens per cell. Above the "
        "line: moved. The leftmost column and the lowest row also hold whatever is smaller. Moved tokens over a "
        "wide range of entropy mean that divergence is not a proxy of entropy.",
        rows.select(("trajectory", "entropy_from", "entropy_to", "js_from", "js_to", "tokens", "share")),
        draw,
        digits=DIGITS,
    )


def _overlap(a: Analysis) -> Figure:
    trajectory = a.trajectories[0]
    rows = a.rows("overlap", trajectory=trajectory)

    def draw(axes: Axes) -> None:
        for i, group in enumerate(("moved", "all")):
            own = known(where(rows, group=group), "overlap")
            if len(own):
                x = list(range(len(own)))
                _whiskers(axes, x, own, "overlap", label=f"{group} positions", capsize=2, **own_style(i))
                axes.set_xticks(x, own["k"].to_pylist())
        axes.set(xlabel="k: size of both candidate sets", ylabel="share in common", ylim=(0, 1.05))

    # Each row counts all the positions of its group.
    moved = max(where(rows, group="moved")["tokens"].to_pylist(), default=0)
    return Figure(
        "overlap",
        "Do the two models consider the same tokens?",
        f"Mean share of the k most likely tokens that policy and base have in common: {moved:,} moved "
        f"positions (JS > {a.moved_above:g}) against all, on the {WRITER[trajectory]}. {_bands(a)}",
        rows.select(("group", "k", "tokens", "overlap", *_interval("overlap"), "identical")),
        draw,
        digits=DIGITS,
    )


def _whiskers(axes: Axes, x: Sequence[int], rows: pa.Table, name: str, **style: Any) -> None:
    value, low, high = (rows[n].to_numpy() for n in (name, *_interval(name)))
    axes.errorbar(x, value, [value - low, high - value], elinewidth=1, **style)


def _rank(a: Analysis) -> Figure:
    rows = _favourites(a, "rank")

    def draw(axes: Axes) -> None:
        own = rows.filter(pc.less_equal(rows["rank_from"], 21))
        bins = zip(own["rank_from"].to_pylist(), own["rank_to"].to_pylist(), strict=True)
        ticks = [f"{low:.0f}-{high:.0f}" if high > low else f"{low:.0f}" for low, high in bins]
        _bars(axes, own["share"].to_numpy(), ticks)
        _whiskers(axes, range(len(own)), own, "share", fmt="none", ecolor=ROLES["ink"].light)
        axes.set_xlabel("rank in the base of the policy's top token")

    return Figure(
        "rank",
        "Was the new favourite likely before?",
        f"{_moved(a, rows)} Rank 1: the favourite did not change. Mass on the first ranks means that training reorders "
        f"candidates rather than finding new ones. {_bands(a)}",
        rows.select(("rank_from", "rank_to", "tokens", "share", *_interval("share"), "share_within")),
        draw,
        digits=DIGITS,
    )


def _mass(a: Analysis) -> Figure:
    rows = _favourites(a, "mass")

    def draw(axes: Axes) -> None:
        # The first bar holds everything below 0.01.
        own = rows.filter(
            pc.or_(pc.greater_equal(rows["prob_from"], 0.01), pc.equal(rows["prob_from"], 0.001))
        )
        heights = np.concatenate([own["share_below"].to_numpy()[:1], own["share"].to_numpy()[1:]])
        ticks = [f"{p:g}".lstrip("0") if p >= 0.01 else "<.01" for p in own["prob_from"].to_pylist()]
        _bars(axes, heights, ticks)
        axes.set_xlabel("base's probability of the policy's top token (from)")

    return Figure(
        "mass",
        "How probable was the new favourite?",
        f"{_moved(a, rows)} Little mass below 0.01 means that hardly any favourite is new.",
        rows.select(("prob_from", "prob_to", "tokens", "share", *_interval("share"), "share_below")),
        draw,
        digits=DIGITS,
    )


def _favourites(a: Analysis, table: str) -> pa.Table:
    """The policy's favourite in the base, at the moved positions."""
    found = a.rows(table, trajectory=a.trajectories[0], direction="policy_in_base", group="moved")
    return known(found, "share")


def _moved(a: Analysis, rows: pa.Table) -> str:
    moved = sum(rows["tokens"].to_pylist())
    return f"{moved:,} moved positions (JS > {a.moved_above:g}) of the {WRITER[a.trajectories[0]]}."


def _bars(axes: Axes, heights: Sequence[float], ticks: Sequence[str]) -> None:
    x = list(range(len(ticks)))
    axes.bar(x, heights, color=colour(0), width=0.72)
    axes.set_xticks(x, ticks, fontsize=10)
    axes.set(ylabel="share of moved positions", ylim=(0, None))
    axes.grid(visible=False, axis="x")


def _truncation(a: Analysis) -> Figure:
    rows = a.rows("truncation")

    def draw(axes: Axes) -> None:
        axes.plot([0, 0.69], [0, 0.69], label="equal", **THIN)
        for i, trajectory in enumerate(a.trajectories):
            own, band = where(rows, trajectory=trajectory), _interval("mean_js_top_p")
            draw_line(axes, i, own, "mean_js", "mean_js_top_p", trajectory, band=band)
        axes.set(
            xlabel="exact JS, mean of the bin [nats]",
            ylabel="top-p JS, mean of the bin [nats]",
            ylim=(0, None),
        )

    return Figure(
        "truncation",
        "What truncation does to the divergence",
        "Positions binned by the exact value; above the line truncation overstates, below it hides. "
        f"{_sample(a)}. {_bands(a)}",
        rows.select(
            (
                "trajectory",
                "js_from",
                "js_to",
                "tokens",
                "mean_js",
                "mean_js_top_p",
                *_interval("mean_js_top_p"),
            )
        ),
        draw,
        legend=3,
        digits=DIGITS,
    )
