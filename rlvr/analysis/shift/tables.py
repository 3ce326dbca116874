"""What every column of `tables/*.csv` means. Each table starts with the columns of KEY."""

from __future__ import annotations

from rlvr.analysis.tables import Column, TableSchema, count, number, text

KEY = (
    text("checkpoint", "name", "policy that was scored; the final one is called policy"),
    text("trajectory", "name", "which model wrote the responses: policy or base"),
)

COLUMNS_OF_TABLES = (
    text("table", "name", "name of the file"),
    text("column", "name", "name of the column; empty for the table itself"),
    text("unit", "name", "its unit"),
    text("meaning", "text", "what it says"),
)  # of columns.csv


def _interval(name: str, unit: str, meaning: str) -> tuple[Column, ...]:
    return (
        number(name, unit, meaning),
        number(
            f"{name}_low", unit, "lower end of the 95 % bootstrap interval; empty where one problem holds all"
        ),
        number(f"{name}_high", unit, "upper end of it"),
    )


def _edges(name: str, unit: str) -> tuple[Column, ...]:
    return (
        number(f"{name}_from", unit, "lower edge of the bin, included"),
        number(f"{name}_to", unit, "upper edge of the bin, not included"),
    )


_TOKENS = count("tokens", "tokens", "positions counted")
_MEASURE = text("measure", "name", "column of the token table")
_GROUP = text("group", "name", "all positions, or those that moved: exact JS above tables.moved_above")
_DIRECTION = text(
    "direction",
    "name",
    "policy_in_base: the policy's most likely token looked up in the base; base_in_policy: the reverse",
)


def _table(name: str, meaning: str, *columns: Column) -> TableSchema:
    return TableSchema(name, meaning, (*KEY, *columns))


TABLES = {
    table.name: table
    for table in (
        _table(
            "sparsity",
            "Share of positions up to each value: the distribution function on a logarithmic grid.",
            _MEASURE,
            number("at_most", "nats", "value"),
            *_interval("share", "share", "positions at or below it"),
        ),
        _table(
            "thresholds",
            "Share of positions above each of tables.thresholds.",
            _MEASURE,
            number("threshold", "nats", "value"),
            _TOKENS,
            count("tokens_above", "tokens", "positions strictly above it"),
            *_interval("share_above", "share", "tokens_above / tokens"),
        ),
        _table(
            "evolution",
            "Mean and percentiles for every checkpoint, on the same responses; percentiles are exact to 0.7 %.",
            _MEASURE,
            text("statistic", "name", "mean, share_moved, or p50 .. p99.9"),
            *_interval("value", "nats", "the statistic (share_moved: a share)"),
        ),
        _table(
            "position",
            "Divergence along the response.",
            text("axis", "name", "relative, from_start, from_end or section"),
            text("bin", "name", "name of the section; else empty"),
            number("from", "share or tokens", "lower edge, included; empty for sections"),
            number(
                "to",
                "share or tokens",
                "upper edge, not included; empty for sections and the last, open bin",
            ),
            _TOKENS,
            *_interval("mean_js", "nats", "mean exact JS"),
            *_interval("share_moved", "share", "positions with exact JS above tables.moved_above"),
            *_interval("mean_entropy_base", "nats", "mean entropy of the base"),
        ),
        _table(
            "js_entropy",
            "Divergence against entropy: counts on a grid; empty cells are left out.",
            text("entropy_of", "name", "base or policy"),
            *_edges("entropy", "nats"),
            *_edges("js", "nats"),
            _TOKENS,
            *_interval("share", "share", "of all positions"),
        ),
        _table(
            "overlap",
            "Overlap of the two models' k most likely tokens.",
            _GROUP,
            count("k", "tokens", "size of both sets"),
            _TOKENS,
            *_interval("overlap", "share", "mean of shared tokens / k"),
            *_interval("identical", "share", "positions where the two sets are equal"),
        ),
        _table(
            "rank",
            "Rank that one model gives the other's most likely token.",
            _DIRECTION,
            _GROUP,
            number("rank_from", "rank", "lowest rank of the bin"),
            number("rank_to", "rank", "highest rank of the bin, included; empty: open"),
            _TOKENS,
            *_interval("share", "share", "positions of the group in the bin"),
            *_interval("share_within", "share", "positions of the group up to rank_to"),
        ),
        _table(
            "mass",
            "Probability that one model gives the other's most likely token.",
            _DIRECTION,
            _GROUP,
            *_edges("prob", "probability"),
            _TOKENS,
            *_interval("share", "share", "positions of the group in the bin"),
            *_interval("share_below", "share", "positions of the group below prob_to"),
        ),
        _table(
            "tokens",
            "Token identities with the largest mean JS, and how much it varies with the context.",
            count("token_id", "token id", "token of the response at the position"),
            text("token", "text", "its text, as a JSON string"),
            count("count", "tokens", "occurrences"),
            *_interval("mean_js", "nats", "mean exact JS at its occurrences"),
            number("std_js", "nats", "standard deviation of it over contexts"),
            number("max_js", "nats", "largest exact JS"),
            count("moved", "tokens", "occurrences with exact JS above tables.moved_above"),
            *_interval("share_moved", "share", "moved / count; neither 0 nor 1: the context decides"),
            number("share_of_moved", "share", "moved / all moved positions"),
        ),
        _table(
            "context",
            "How much of the divergence the identity of the token explains; the rest is context.",
            text("of", "name", "js, or moved: whether JS is above tables.moved_above"),
            _TOKENS,
            count("identities", "tokens", "different tokens"),
            number("variance", "nats^2", "over all positions (moved: of the 0/1 indicator)"),
            number("explained", "share", "variance between identities / variance (eta squared)"),
            number(
                "explained_adjusted",
                "share",
                "the same without the share that chance explains (epsilon squared, Kelley 1935)",
            ),
        ),
        _table(
            "truncation",
            "Exact against top-p-truncated JS, binned by the exact value.",
            *_edges("js", "nats"),
            _TOKENS,
            *_interval("mean_js", "nats", "mean exact JS"),
            *_interval("mean_js_top_p", "nats", "mean truncated JS"),
            *_interval("mean_difference", "nats", "mean of truncated minus exact"),
            *_interval("mean_abs_difference", "nats", "mean of its absolute value"),
        ),
        _table(
            "truncation_agreement",
            "Positions above each threshold by exact JS, by truncated JS, by both, by neither.",
            number("threshold", "nats", "value"),
            _TOKENS,
            count("both", "tokens", "above by both"),
            count("only_exact", "tokens", "above by exact JS alone"),
            count("only_top_p", "tokens", "above by truncated JS alone"),
            count("neither", "tokens", "above by neither"),
            *_interval("agreement", "share", "(both + neither) / tokens"),
            *_interval("recall", "share", "both / above by exact JS; empty where that is never the case"),
        ),
        _table(
            "outcome",
            "Divergence of correct and wrong responses.",
            text("outcome", "name", "correct or wrong"),
            _TOKENS,
            *_interval("mean_js", "nats", "mean exact JS"),
            *_interval("share_moved", "share", "positions with exact JS above tables.moved_above"),
        ),
    )
}
