"""Where the distribution moved, and what happens at the moved positions: the figures of one analysis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rlvr.reporting.canvas import Cell, Figure, band, colour, dash, legend, marker
from rlvr.reporting.colours import ROLES, ramp
from rlvr.reporting.sources import Analysis, Row, column, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BAND = "Bands and whiskers: 95 % intervals from a bootstrap over problems."
WRITER = {"policy": "policy's responses", "base": "base's responses"}
PERCENTILES = ("mean", "p90", "p95", "p99")


def shift_figures(a: Analysis, prefix: str = "") -> Iterator[Figure]:
    """Every figure of an analysis; `prefix` makes the names of its files unique."""
    yield sparsity(a, prefix)
    if len(a.checkpoints) > 1:
        yield evolution(a, prefix)
    yield along(a, prefix, "relative", "Along the response", "share of the response before the token")
    yield along(a, prefix, "from_start", "The first tokens", "tokens of the response before the token")
    yield entropy_grid(a, prefix)
    yield overlap(a, prefix)
    yield rank(a, prefix)
    yield mass(a, prefix)
    yield truncation(a, prefix)


def sample(a: Analysis) -> str:
    """How many tokens of whose responses the figures count."""
    return " and ".join(f"{a.tokens(t):,} tokens of the {WRITER[t]}" for t in a.trajectories)


def _table(rows: Sequence[Row], names: Sequence[str]) -> tuple[tuple[Cell, ...], ...]:
    return tuple(tuple(row[name] for name in names) for row in rows)


def sparsity(a: Analysis, prefix: str) -> Figure:
    """The distribution function of the divergence, exact and truncated."""
    names = ("trajectory", "measure", "at_most", "share", "share_low", "share_high")
    rows = a.rows("sparsity")
    labels = {"js": "exact", "js_top_p": "top-p"}

    def draw(axes: Axes) -> None:
        for i, trajectory in enumerate(a.trajectories):
            for j, (measure, label) in enumerate(labels.items()):
                own = [
                    r
                    for r in a.rows("sparsity", trajectory=trajectory, measure=measure)
                    if number(r["at_most"]) > 0
                ]
                x = column(own, "at_most")
                if j == 0:
                    band(axes, x, column(own, "share_low"), column(own, "share_high"), i)
                axes.plot(
                    x, column(own, "share"), color=colour(i), ls=dash(j), label=f"{trajectory}, {label}"
                )
        axes.axvline(a.moved_above, color=ROLES["muted"].light, lw=0.9)
        axes.text(a.moved_above, 0.03, "moved ", ha="right", color=ROLES["muted"].light, fontsize=10.5)
        axes.set(
            xscale="log",
            xlabel="JS(policy, base) [nats]",
            ylabel="share of positions up to it",
            ylim=(0, 1.02),
        )
        legend(axes)

    top_p = a.content["config"]["score"]["top_p"]
    return Figure(
        f"{prefix}sparsity",
        "How sparse the shift is",
        "Share of positions whose divergence is at most the value below. A curve that starts high: most positions "
        f"did not move. Exact over the vocabulary, and on nuclei truncated at top-p {top_p:g}. {sample(a)}. {BAND}",
        names,
        _table(rows, names),
        draw,
    )


def evolution(a: Analysis, prefix: str) -> Figure:
    """Mean and percentiles over checkpoints."""
    names = ("checkpoint", "trajectory", "statistic", "value", "value_low", "value_high")
    trajectory = a.trajectories[0]
    rows = [
        r
        for c in a.checkpoints
        for r in a.rows("evolution", checkpoint=c, measure="js", trajectory=trajectory)
    ]

    def draw(axes: Axes) -> None:
        x = list(range(len(a.checkpoints)))
        for i, statistic in enumerate(PERCENTILES):
            own = [r for r in rows if r["statistic"] == statistic]
            band(axes, x, column(own, "value_low"), column(own, "value_high"), i)
            axes.plot(
                x,
                column(own, "value"),
                color=colour(i),
                ls=dash(i),
                marker=marker(i),
                label=_percent(statistic),
            )
        short = [c.removeprefix("step_").lstrip("0") or c for c in a.checkpoints]
        shown = x if len(x) <= 8 else [round(k * (len(x) - 1) / 7) for k in range(8)]
        axes.set_xticks(shown, [short[k] for k in shown])
        axes.set(xlabel="checkpoint (step)", ylabel="JS(policy, base) [nats]")
        axes.set_ylim(bottom=0)
        legend(axes, columns=4)

    return Figure(
        f"{prefix}evolution",
        "Over the checkpoints",
        "Mean and percentiles of the exact divergence over positions, every checkpoint on the same responses "
        f"({a.tokens(trajectory):,} tokens of the {WRITER[trajectory]}). Upper percentiles that rise fastest mean "
        f"that the change concentrates. {BAND}",
        names,
        _table(rows, names),
        draw,
    )


def _percent(statistic: str) -> str:
    return statistic if statistic == "mean" else f"{statistic[1:]} %"


def along(a: Analysis, prefix: str, axis: str, title: str, label: str) -> Figure:
    """Mean divergence by position."""
    names = ("trajectory", "from", "to", "tokens", "mean_js", "mean_js_low", "mean_js_high")
    limit = 48.0 if axis == "from_start" else 1.0
    rows = [r for r in a.rows("position", axis=axis) if number(r["from"]) < limit]

    def draw(axes: Axes) -> None:
        for i, trajectory in enumerate(a.trajectories):
            own = [r for r in rows if r["trajectory"] == trajectory]
            if axis == "relative":
                x = [(number(r["from"]) + number(r["to"])) / 2 for r in own]
            else:
                x = column(own, "from")
            band(axes, x, column(own, "mean_js_low"), column(own, "mean_js_high"), i)
            axes.plot(
                x,
                column(own, "mean_js"),
                color=colour(i),
                ls=dash(i),
                marker=marker(i),
                ms=4,
                label=WRITER[trajectory],
            )
        axes.set(xlabel=label, ylabel="mean JS [nats]")
        axes.set_ylim(bottom=0)
        legend(axes)

    return Figure(
        f"{prefix}position_{axis}",
        title,
        f"Mean exact divergence by position, {sample(a)}. {BAND} Bins with few tokens have wide ones; the table "
        "has the counts.",
        names,
        _table(rows, names),
        draw,
    )


def entropy_grid(a: Analysis, prefix: str) -> Figure:
    """Token counts on the plane of entropy and divergence."""
    names = ("trajectory", "entropy_from", "entropy_to", "js_from", "js_to", "tokens", "share")
    trajectory = a.trajectories[0]
    rows = a.rows("js_entropy", trajectory=trajectory, entropy_of="base")
    edges = (1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)  # shares at which the next shade starts
    low = {"entropy": 7e-4, "js": 5e-7}  # where the bins that begin at 0 are drawn

    def draw(axes: Axes) -> None:
        from matplotlib.patches import Rectangle

        for r in rows:
            x0, x1 = (number(r[f"entropy_{end}"]) for end in ("from", "to"))
            y0, y1 = (number(r[f"js_{end}"]) for end in ("from", "to"))
            x0, y0, x1, y1 = max(x0, low["entropy"]), max(y0, low["js"]), min(x1, 16.0), min(y1, 0.75)
            shade = ramp()[1 + sum(number(r["share"]) >= e for e in edges)].light
            axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, facecolor=shade, edgecolor="none"))
        axes.axhline(a.moved_above, color=ROLES["muted"].light, lw=0.9)
        axes.set(xscale="log", yscale="log", xlim=(low["entropy"], 16.0), ylim=(low["js"], 1.0))
        axes.set(xlabel="entropy of the base [nats]", ylabel="JS(policy, base) [nats]")

    return Figure(
        f"{prefix}js_entropy",
        "Divergence against entropy",
        f"Where the {a.tokens(trajectory):,} tokens of the {WRITER[trajectory]} lie. The stronger the shade, the more "
        "tokens: below 0.01 %, then from 0.01, 0.1, 0.3, 1, 3 and 10 % of all tokens per cell. Above the "
        "line: moved. The leftmost column and the lowest row also hold whatever is smaller. Moved tokens over a "
        "wide range of entropy mean that divergence is not a proxy of entropy.",
        names,
        _table(rows, names),
        draw,
    )


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
        f"positions (JS > {a.moved_above:g}) against all, on the {WRITER[trajectory]}. {BAND}",
        names,
        _table(rows, names),
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
        lambda r: f"{number(r['prob_from']):g}" if number(r["prob_from"]) >= 0.01 else "<.01",
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
        f"{_moved(rows)} moved positions (JS > {a.moved_above:g}) of the {WRITER[trajectory]}. {reading}",
        names,
        _table(rows, names),
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
        f"{sample(a)}. {BAND}",
        names,
        _table(rows, names),
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
