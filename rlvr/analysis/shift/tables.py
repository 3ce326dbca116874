"""What every column of `tables/*.csv` means. Each table starts with the columns of KEY."""

from __future__ import annotations

from dataclasses import dataclass

KEY = (
    ("checkpoint", "name", "policy that was scored; the final one is called policy"),
    ("trajectory", "name", "which model wrote the responses: policy or base"),
)
Doc = tuple[str, str, str]  # name, unit, meaning


@dataclass(frozen=True, slots=True)
class Table:
    """One CSV file."""

    name: str
    meaning: str
    columns: tuple[Doc, ...]


def _interval(name: str, unit: str, meaning: str) -> tuple[Doc, ...]:
    return (
        (name, unit, meaning),
        (f"{name}_low", unit, "lower end of the 95 % bootstrap interval; empty where one problem holds all"),
        (f"{name}_high", unit, "upper end of it"),
    )


def _edges(name: str, unit: str) -> tuple[Doc, ...]:
    return (
        (f"{name}_from", unit, "lower edge of the bin, included"),
        (f"{name}_to", unit, "upper edge of the bin, not included"),
    )


_TOKENS: Doc = ("tokens", "tokens", "positions counted")
_MEASURE: Doc = ("measure", "name", "column of the token table")
_GROUP: Doc = ("group", "name", "all positions, or those that moved: exact JS above tables.moved_above")
_DIRECTION: Doc = (
    "direction",
    "name",
    "policy_in_base: the policy's most likely token looked up in the base; base_in_policy: the reverse",
)

TABLES = {
    table.name: table
    for table in (
        Table(
            "sparsity",
            "Share of positions up to each value: the distribution function on a logarithmic grid.",
            (
                _MEASURE,
                ("at_most", "nats", "value"),
                *_interval("share", "share", "positions at or below it"),
            ),
        ),
        Table(
            "thresholds",
            "Share of positions above each of tables.thresholds.",
            (
                _MEASURE,
                ("threshold", "nats", "value"),
                _TOKENS,
                ("tokens_above", "tokens", "positions strictly above it"),
                *_interval("share_above", "share", "tokens_above / tokens"),
            ),
        ),
        Table(
            "evolution",
            "Mean and percentiles for every checkpoint, on the same responses; percentiles are exact to 0.7 %.",
            (
                _MEASURE,
                ("statistic", "name", "mean, share_moved, or p50 .. p99.9"),
                *_interval("value", "nats", "the statistic (share_moved: a share)"),
            ),
        ),
        Table(
            "position",
            "Divergence along the response.",
            (
                ("axis", "name", "relative, from_start, from_end or section"),
                ("bin", "name", "name of the section; else empty"),
                ("from", "share or tokens", "lower edge, included; empty for sections"),
                (
                    "to",
                    "share or tokens",
                    "upper edge, not included; empty for sections and the last, open bin",
                ),
                _TOKENS,
                *_interval("mean_js", "nats", "mean exact JS"),
                *_interval("share_moved", "share", "positions with exact JS above tables.moved_above"),
                *_interval("mean_entropy_base", "nats", "mean entropy of the base"),
            ),
        ),
        Table(
            "js_entropy",
            "Divergence against entropy: counts on a grid; empty cells are left out.",
            (
                ("entropy_of", "name", "base or policy"),
                *_edges("entropy", "nats"),
                *_edges("js", "nats"),
                _TOKENS,
                *_interval("share", "share", "of all positions"),
            ),
        ),
        Table(
            "overlap",
            "Overlap of the two models' k most likely tokens.",
            (
                _GROUP,
                ("k", "tokens", "size of both sets"),
                _TOKENS,
                *_interval("overlap", "share", "mean of shared tokens / k"),
                *_interval("identical", "share", "positions where the two sets are equal"),
            ),
        ),
        Table(
            "rank",
            "Rank that one model gives the other's most likely token.",
            (
                _DIRECTION,
                _GROUP,
                ("rank_from", "rank", "lowest rank of the bin"),
                ("rank_to", "rank", "highest rank of the bin, included; empty: open"),
                _TOKENS,
                *_interval("share", "share", "positions of the group in the bin"),
                *_interval("share_within", "share", "positions of the group up to rank_to"),
            ),
        ),
        Table(
            "mass",
            "Probability that one model gives the other's most likely token.",
            (
                _DIRECTION,
                _GROUP,
                *_edges("prob", "probability"),
                _TOKENS,
                *_interval("share", "share", "positions of the group in the bin"),
                *_interval("share_below", "share", "positions of the group below prob_to"),
            ),
        ),
        Table(
            "tokens",
            "Token identities with the largest mean JS, and how much it varies with the context.",
            (
                ("token_id", "token id", "token of the response at the position"),
                ("token", "text", "its text, as a JSON string"),
                ("count", "tokens", "occurrences"),
                *_interval("mean_js", "nats", "mean exact JS at its occurrences"),
                ("std_js", "nats", "standard deviation of it over contexts"),
                ("max_js", "nats", "largest exact JS"),
                ("moved", "tokens", "occurrences with exact JS above tables.moved_above"),
                *_interval("share_moved", "share", "moved / count; neither 0 nor 1: the context decides"),
                ("share_of_moved", "share", "moved / all moved positions"),
            ),
        ),
        Table(
            "context",
            "How much of the divergence the identity of the token explains; the rest is context.",
            (
                ("of", "name", "js, or moved: whether JS is above tables.moved_above"),
                _TOKENS,
                ("identities", "tokens", "different tokens"),
                ("variance", "nats^2", "over all positions (moved: of the 0/1 indicator)"),
                ("explained", "share", "variance between identities / variance (eta squared)"),
                (
                    "explained_adjusted",
                    "share",
                    "the same without the share that chance explains (epsilon squared, Kelley 1935)",
                ),
            ),
        ),
        Table(
            "truncation",
            "Exact against top-p-truncated JS, binned by the exact value.",
            (
                *_edges("js", "nats"),
                _TOKENS,
                *_interval("mean_js", "nats", "mean exact JS"),
                *_interval("mean_js_top_p", "nats", "mean truncated JS"),
                *_interval("mean_difference", "nats", "mean of truncated minus exact"),
                *_interval("mean_abs_difference", "nats", "mean of its absolute value"),
            ),
        ),
        Table(
            "truncation_agreement",
            "Positions above each threshold by exact JS, by truncated JS, by both, by neither.",
            (
                ("threshold", "nats", "value"),
                _TOKENS,
                ("both", "tokens", "above by both"),
                ("only_exact", "tokens", "above by exact JS alone"),
                ("only_top_p", "tokens", "above by truncated JS alone"),
                ("neither", "tokens", "above by neither"),
                *_interval("agreement", "share", "(both + neither) / tokens"),
                *_interval("recall", "share", "both / above by exact JS; empty where that is never the case"),
            ),
        ),
        Table(
            "outcome",
            "Divergence of correct and wrong responses.",
            (
                ("outcome", "name", "correct or wrong"),
                _TOKENS,
                *_interval("mean_js", "nats", "mean exact JS"),
                *_interval("share_moved", "share", "positions with exact JS above tables.moved_above"),
            ),
        ),
    )
}
