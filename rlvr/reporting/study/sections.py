"""The sections about the main run: where it moved, which rule finds the tokens, truncation, classes of tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rlvr.analysis.cross.pairs import PAIR_COLUMNS, PairRow, rule_table
from rlvr.analysis.cross.records import BudgetRow
from rlvr.analysis.loaded import LoadedAnalysis
from rlvr.analysis.tables import TextTable, read_csv, text_table
from rlvr.reporting.figures.canvas import Figure
from rlvr.reporting.figures.cross import cross_figures
from rlvr.reporting.figures.shift import shift_figures
from rlvr.reporting.study.found import Found
from rlvr.reporting.tables import class_table, outcome_table, switch_class_table
from rlvr.runtime.disk.dumps import without_nan
from rlvr.stats.student import interval_text

HEADLINES = {  # a figure of analysis.json -> what a reader calls it, and how it is written
    "mean_js": ("mean JS [nats]", ".3f"),
    "share_near_zero": ("JS <= 0.01", ".1%"),
    "share_moved": ("JS > {:g}: moved", ".1%"),
    "moved_overlap_2": ("moved: two most likely tokens in common", ".1%"),
    "moved_policy_top_is_base_top": ("moved: the favourite is the base's", ".1%"),
    "moved_policy_top_within_base_rank_3": ("moved: the favourite is within the base's first 3", ".1%"),
    "moved_policy_top_base_prob_below_0.01": ("moved: the base gave the favourite less than 1 %", ".1%"),
}
LEFT_OUT = ("evolution", "truncation")  # of the figures of the shift: checkpoints, and question 5


@dataclass(frozen=True, slots=True)
class Section:
    """What is known about one question."""

    tables: tuple[TextTable, ...] = ()
    figures: tuple[Figure, ...] = ()
    said: tuple[str, ...] = ()  # paragraphs before the tables


def moved(found: Found) -> Section | None:
    """Question 1."""
    analysis = found.analysis(found.study.main)
    if analysis is None:
        return None
    figures = tuple(figure for figure in shift_figures(analysis) if figure.name not in LEFT_OUT)
    return Section((headline_table(analysis), _sections(analysis), outcome_table(analysis)), figures)


def rules(found: Found) -> Section | None:
    """Question 2."""
    cross = found.cross()
    if cross is None:
        return None
    rows = [BudgetRow(**row) for row in without_nan(cross.budgets.to_pylist())]
    pairs = [PairRow(**row) for row in read_csv(cross.folder / "pairs.csv", PAIR_COLUMNS).to_pylist()]
    ends = cross.content["endpoints"]
    said = "; ".join(
        f"{name} alone {interval_text(end['accuracy'], end['ci_low'], end['ci_high'])}"
        for name, end in ends.items()
    )
    counts = cross.content["counts"]
    size = (
        f"{counts['problems']} problems, {counts['samples_per_problem']} samples of each. Accuracy: {said}."
    )
    return Section((rule_table(rows, pairs),), tuple(cross_figures(cross)), (size,))


def truncation(found: Found) -> Section | None:
    """Question 5."""
    analysis = found.analysis(found.study.main)
    if analysis is None:
        return None
    figures = tuple(figure for figure in shift_figures(analysis) if figure.name == "truncation")
    return Section((_agreement(analysis), _thresholds(analysis)), figures)


def classes(found: Found) -> Section | None:
    """Question 6."""
    analysis, cross = found.analysis(found.study.main), found.cross()
    shift = None if analysis is None else class_table(analysis)
    switches = None if cross is None else switch_class_table(cross)
    tables = tuple(table for table in (shift, switches) if table is not None)
    return Section(tables) if tables else None


def headline_table(analysis: LoadedAnalysis) -> TextTable:
    """The main figures, on the responses of each model."""

    def cell(name: str, trajectory: str) -> str:
        known = analysis.figure(name, trajectory)
        return "-" if known is None else interval_text(*known, HEADLINES[name][1])

    count = " and ".join(f"{analysis.scored(t):,} of the {t}'s" for t in analysis.trajectories)
    return text_table(
        f"Where the policy moved: {count} tokens.",
        HEADLINES,
        ("", lambda name: HEADLINES[name][0].format(analysis.moved_above)),
        *((f"on the {t}'s responses", lambda name, t=t: cell(name, t)) for t in analysis.trajectories),
    )


def _sections(analysis: LoadedAnalysis) -> TextTable:
    return text_table(
        "By place in the response: its first token, the rest, a boxed answer where there is one, and the end token.",
        analysis.rows("position", axis="section").to_pylist(),
        ("tokens", lambda r: f"{r['bin']}, in the {r['trajectory']}'s responses"),
        ("count", lambda r: f"{r['tokens']:,}"),
        ("mean JS", lambda r: of(r, "mean_js", ".3f")),
        ("moved", lambda r: of(r, "share_moved", ".1%")),
        ("entropy of the base", lambda r: f"{r['mean_entropy_base']:.3f}"),
    )


def _agreement(analysis: LoadedAnalysis) -> TextTable:
    top_p = analysis.content["config"]["score"]["top_p"]
    return text_table(
        f"Truncation: is a token above the threshold by exact JS also above it on nuclei truncated at top-p {top_p:g}? "
        "Recall: of those above by exact JS.",
        analysis.rows("truncation_agreement").to_pylist(),
        ("JS above", lambda r: f"{r['threshold']:g}, {r['trajectory']}'s responses"),
        ("by both", lambda r: f"{r['both']:,}"),
        ("exact alone", lambda r: f"{r['only_exact']:,}"),
        ("top-p alone", lambda r: f"{r['only_top_p']:,}"),
        ("agreement", lambda r: of(r, "agreement", ".1%")),
        ("recall", lambda r: of(r, "recall", ".1%")),
    )


def _thresholds(analysis: LoadedAnalysis) -> TextTable:
    rows: dict[tuple[str, float], dict[str, dict[str, Any]]] = {}
    for row in analysis.rows("thresholds").to_pylist():
        rows.setdefault((row["trajectory"], row["threshold"]), {})[row["measure"]] = row
    heads = {
        "js": "exact JS",
        "js_top_p": "top-p JS",
        "kl_policy_base": "KL(policy, base)",
        "kl_base_policy": "KL(base, policy)",
    }
    return text_table(
        "Thresholds: share of tokens above each of them, by measure [nats].",
        rows.items(),
        ("above", lambda r: f"{r[0][1]:g}, {r[0][0]}'s responses"),
        *((head, lambda r, name=name: of(r[1][name], "share_above", ".1%")) for name, head in heads.items()),
    )


def of(row: dict[str, Any], name: str, form: str) -> str:
    """A column with its interval; a dash where there is none."""
    return interval_text(row[name], row[f"{name}_low"], row[f"{name}_high"], form)
