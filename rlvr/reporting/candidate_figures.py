"""What happens at the moved positions, and what truncation does: the second half of an analysis's figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rlvr.reporting.canvas import Figure, band, colour, dash, legend, marker
from rlvr.reporting.colours import ROLES
from rlvr.reporting.shift_figures import WRITER, bands, cells, sample
from rlvr.reporting.sources import Analysis, Row, column, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def candidate_figures(a: Analysis, prefix: str = "") -> Iterator[Figure]:
    """Overlap, rank and mass of the candidates, and truncation; `prefix` makes the names of the files unique."""
    yield overlap(a, prefix)
    yield rank(a, prefix)
    yield mass(a, prefix)
    yield truncation(a, prefix)


def overlap(a: Analysis, prefix: str) -> Figure:
    """Overlap of the candidate sets by size."""
    names = ("group", "k", "tokens", "overlap", "overlap_low", "overlap_high", "identical")
    trajectory = a.trajectories[0]
    rows = a.rows("overlap", trajectory=trajectory)

    def draw(axes: Axes) -> None:
        for i, group in enumerate(("moved", "all")):
            own = [r for r in rows if r["group"] == group and r["overlap"]]
            x = list(range(len(own)))
            if own:
                _dots(axes, own, x, "overlap", i, f"{group} positions")
                axes.set_xticks(x, [r["k"] for r in own])
        axes.set(xlabel="k: size of both candidate sets", ylabel="share in common", ylim=(0, 1.05))
        legend(axes)

    return Figure(
        f"{prefix}overlap",
        "Do the two models consider the same tokens?",
        f"Mean share of the k most likely tokens that policy and base have in common: {_moved(rows)} moved "
        f"positions (JS > {a.moved_above:g}) against all, on the {WRITER[trajectory]}. {bands(a)}",
        names,
        cells(rows, names),
        draw,
    )


def rank(a: Analysis, prefix: str) -> Figure:
    """Rank in the base of the policy's favourite."""
    return _bars(
        a,
        prefix,
        "rank",
        "Was the new favourite likely before?",
        "rank in the base of the policy's top token",
        "Rank 1: the favourite did not change. Mass on the first ranks means that training reorders candidates "
        "rather than finding new ones.",
        lambda r: (
            r["rank_from"]
            if r["rank_from"] == r["rank_to"]
            else f"{r['rank_from']}-{r['rank_to']}".rstrip("-")
        ),
        lambda r: number(r["rank_from"]) <= 21,
    )


def mass(a: Analysis, prefix: str) -> Figure:
    """Probability in the base of the policy's favourite."""
    return _bars(
        a,
        prefix,
        "mass",
        "How probable was the new favourite?",
        "base's probability of the policy's top token (from)",
        "Little mass below 0.01 means that hardly any favourite is new.",
        lambda r: f"{number(r['prob_from']):g}".lstrip("0") if number(r["prob_from"]) >= 0.01 else "<.01",
        lambda r: number(r["prob_from"]) == 0.001 or number(r["prob_from"]) >= 0.01,
    )


def _bars(
    a: Analysis, prefix: str, table: str, title: str, label: str, reading: str, tick: Any, shown: Any
) -> Figure:
    trajectory = a.trajectories[0]
    rows = [
        r
        for r in a.rows(table, trajectory=trajectory, direction="policy_in_base", group="moved")
        if r["share"]
    ]
    below = ("share_within",) if table == "rank" else ("share_below",)
    edges = ("rank_from", "rank_to") if table == "rank" else ("prob_from", "prob_to")
    names = (*edges, "tokens", "share", "share_low", "share_high", *below)

    def draw(axes: Axes) -> None:
        own = [r for r in rows if shown(r)]
        x = list(range(len(own)))
        # The first bar of the probabilities holds everything below 0.01.
        first = [
            number(r["share_below"]) if table == "mass" and i == 0 else number(r["share"])
            for i, r in enumerate(own)
        ]
        axes.bar(x, first, color=colour(0), width=0.72)
        if table == "rank":
            low = [v - number(r["share_low"]) for v, r in zip(first, own, strict=True)]
            high = [number(r["share_high"]) - v for v, r in zip(first, own, strict=True)]
            axes.errorbar(x, first, [low, high], fmt="none", ecolor=ROLES["ink"].light, elinewidth=1)
        axes.set_xticks(x, [tick(r) for r in own], fontsize=10)
        axes.set(xlabel=label, ylabel="share of moved positions", ylim=(0, None))
        axes.grid(visible=False, axis="x")

    return Figure(
        f"{prefix}{table}",
        title,
        f"{_moved(rows)} moved positions (JS > {a.moved_above:g}) of the {WRITER[trajectory]}. {reading}"
        + (f" {bands(a)}" if table == "rank" else ""),
        names,
        cells(rows, names),
        draw,
    )


def truncation(a: Analysis, prefix: str) -> Figure:
    """Truncated against exact divergence."""
    names = ("trajectory", "js_from", "js_to", "tokens", "mean_js", "mean_js_top_p", "mean_js_top_p_low",
             "mean_js_top_p_high")  # fmt: skip
    rows = a.rows("truncation")

    def draw(axes: Axes) -> None:
        axes.plot([0, 0.69], [0, 0.69], color=ROLES["muted"].light, lw=0.9, label="equal")
        for i, trajectory in enumerate(a.trajectories):
            own = [r for r in rows if r["trajectory"] == trajectory]
            x = column(own, "mean_js")
            band(axes, x, column(own, "mean_js_top_p_low"), column(own, "mean_js_top_p_high"), i)
            y = column(own, "mean_js_top_p")
            axes.plot(x, y, color=colour(i), ls=dash(i), marker=marker(i), label=trajectory)
        axes.set(xlabel="exact JS, mean of the bin [nats]", ylabel="top-p JS, mean of the bin [nats]")
        axes.set_ylim(bottom=0)
        legend(axes, columns=3)

    return Figure(
        f"{prefix}truncation",
        "What truncation does to the divergence",
        "Positions binned by the exact value; above the line truncation overstates, below it hides. "
        f"{sample(a)}. {bands(a)}",
        names,
        cells(rows, names),
        draw,
    )


def _dots(axes: Axes, rows: Sequence[Row], x: Sequence[float], name: str, i: int, label: str) -> None:
    y = column(rows, name)
    low = [v - number(r[f"{name}_low"]) for v, r in zip(y, rows, strict=True)]
    high = [number(r[f"{name}_high"]) - v for v, r in zip(y, rows, strict=True)]
    axes.errorbar(
        x, y, [low, high], color=colour(i), ls=dash(i), marker=marker(i), elinewidth=1, capsize=2, label=label
    )


def _moved(rows: Sequence[Row]) -> str:
    """How many moved positions the rows count; each row of `overlap` counts all of them."""
    if rows and "k" in rows[0]:
        return f"{max((int(r['tokens']) for r in rows if r['group'] == 'moved'), default=0):,}"
    return f"{sum(int(r['tokens']) for r in rows):,}"
