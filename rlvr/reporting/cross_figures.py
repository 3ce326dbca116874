"""Does the shift matter? Accuracy by share of switched tokens, with bands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rlvr.reporting.canvas import Figure, band, colour, dash, legend, marker
from rlvr.reporting.colours import ROLES
from rlvr.reporting.sources import Cross, Row, column

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RULE_LABELS = {"js": "high JS", "random": "random", "entropy": "high entropy", "earliest": "earliest"}
DIRECTIONS = {
    "forward": ("base", "policy", "Forward: policy tokens in the base's responses"),
    "reverse": ("policy", "base", "Reverse: base tokens in the policy's responses"),
}
COLUMNS = (
    "rule", "level", "share", "effective_share", "switches_per_response", "accuracy", "ci_low", "ci_high",
    "difference_primary", "p_primary", "p_primary_holm", "recovered_share", "difference_js", "p_js",
    "p_js_holm",
)  # fmt: skip


def cross_figures(cross: Cross, prefix: str = "") -> Iterator[Figure]:
    """One figure for each direction that was run."""
    for direction in DIRECTIONS:
        rows = [row for row in cross.budgets if row["direction"] == direction]
        if rows:
            yield _figure(cross, direction, rows, prefix)


def _figure(cross: Cross, direction: str, rows: Sequence[Row], prefix: str) -> Figure:
    primary, intervening, title = DIRECTIONS[direction]
    ends = cross.content["endpoints"]
    rules = [rule for rule in RULE_LABELS if any(row["rule"] == rule for row in rows)]
    rules += sorted({row["rule"] for row in rows} - set(rules))  # rules that a user has added

    def draw(axes: Axes) -> None:
        widest = max(100 * max(column(rows, "share")), 1.0)
        lower = min((primary, intervening), key=lambda end: ends[end]["accuracy"])
        for end in (primary, intervening):
            axes.axhline(ends[end]["accuracy"], color=ROLES["muted"].light, lw=0.9)
            axes.text(
                1.0, ends[end]["accuracy"], f"{end} alone ", ha="right", va="top" if end == lower else "bottom",
                fontsize=10.5, color=ROLES["muted"].light, transform=axes.get_yaxis_transform(),
            )  # fmt: skip
        for i, rule in enumerate(rules):
            own = sorted((row for row in rows if row["rule"] == rule), key=lambda row: float(row["share"]))
            x = [0.0, *(100 * share for share in column(own, "share"))]
            start = ends[primary]
            mean, low, high = ([start[of], *column(own, of)] for of in ("accuracy", "ci_low", "ci_high"))
            band(axes, x, low, high, i)
            axes.plot(
                x, mean, color=colour(i), ls=dash(i), marker=marker(i), label=RULE_LABELS.get(rule, rule)
            )
        axes.set(xlabel="tokens switched [%]", ylabel="accuracy", xlim=(0, 1.04 * widest), ylim=(0, 1.06))
        legend(axes, columns=2)

    first = rows[0]
    what = "recover the policy's accuracy" if direction == "forward" else "destroy the policy's accuracy"
    return Figure(
        f"{prefix}cross_{direction}",
        title,
        f"The {intervening} samples the next token where the rule says so, the {primary} elsewhere: how few tokens "
        f"{what}? Controls switch as many tokens at random, where the {primary}'s entropy is high, and at the start. "
        f"{first['problems']} problems x {int(first['responses']) // int(first['problems'])} responses a point. Band: "
        "95 % interval, clustered by problem.",
        COLUMNS,
        tuple(tuple(row[name] for name in COLUMNS) for row in rows),
        draw,
    )
