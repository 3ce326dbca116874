"""Where the distribution moved: the first half of an analysis's figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rlvr.reporting.canvas import Cell, Figure, band, colour, dash, legend, marker
from rlvr.reporting.colours import ROLES, ramp
from rlvr.reporting.sources import Analysis, Row, column, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WRITER = {"policy": "policy's responses", "base": "base's responses"}
PERCENTILES = ("mean", "p90", "p95", "p99")


def shift_figures(a: Analysis, prefix: str = "") -> Iterator[Figure]:
    """Sparsity, evolution, position and entropy; `prefix` makes the names of the files unique."""
    yield sparsity(a, prefix)
    if len(a.checkpoints) > 1:
        yield evolution(a, prefix)
    yield along(a, prefix, "relative", "Along the response", "share of the response before the token")
    yield along(a, prefix, "from_start", "The first tokens", "tokens of the response before the token")
    yield entropy_grid(a, prefix)


def bands(a: Analysis) -> str:
    """What the intervals are."""
    tables = a.content["config"]["tables"]
    return f"Bands and whiskers: 95 % intervals, {tables['bootstrap']} bootstrap draws of {tables['unit']}s."


def sample(a: Analysis) -> str:
    """How many tokens of whose responses the figures count."""
    return " and ".join(f"{a.tokens(t):,} tokens of the {WRITER[t]}" for t in a.trajectories)


def cells(rows: Sequence[Row], names: Sequence[str]) -> tuple[tuple[Cell, ...], ...]:
    """The named columns of a table."""
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
        axes.text(a.moved_above, 0.03, "moved → ", ha="right", color=ROLES["muted"].light, fontsize=10.5)
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
        f"did not move. Exact over the vocabulary, and on nuclei truncated at top-p {top_p:g}. {sample(a)}. {bands(a)}",
        names,
        cells(rows, names),
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
        legend(axes)

    return Figure(
        f"{prefix}evolution",
        "Over the checkpoints",
        "Mean and percentiles of the exact divergence over positions, every checkpoint on the same responses "
        f"({a.tokens(trajectory):,} tokens of the {WRITER[trajectory]}). Upper percentiles that rise fastest mean "
        f"that the change concentrates. {bands(a)}",
        names,
        cells(rows, names),
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
                label=f"by the {trajectory}",
            )
        axes.set(xlabel=label, ylabel="mean JS [nats]")
        axes.set_ylim(bottom=0)
        legend(axes)

    return Figure(
        f"{prefix}position_{axis}",
        title,
        f"Mean exact divergence by position, {sample(a)}. {bands(a)} Bins with few tokens have wide ones; the table "
        "has the counts.",
        names,
        cells(rows, names),
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
        cells(rows, names),
        draw,
    )
