"""What a study's page shows for each question: paragraphs, tables and figures, as far as there is something to show.

Questions 1, 2, 5 and 6 are about the main run: where it moved, which rule finds the tokens, truncation, classes of
tokens. Questions 3 and 4 set trainings side by side: kinds of training on every task, and weightings over seeds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from rlvr.analysis.cross.pairs import PAIR_COLUMNS, PairRow, rule_table
from rlvr.analysis.cross.records import BudgetRow
from rlvr.analysis.loaded import LoadedAnalysis
from rlvr.analysis.study import run_name
from rlvr.analysis.sweep import tables as sweep_tables
from rlvr.analysis.sweep.compare import as_array, ranking
from rlvr.analysis.sweep.runs import FinishedRun
from rlvr.analysis.tables import TextTable, read_csv, text_table
from rlvr.reporting.figures.canvas import Figure, described, series
from rlvr.reporting.figures.cross import cross_figures
from rlvr.reporting.figures.shift import shift_figures
from rlvr.reporting.figures.sweep import differences, held_out, overview
from rlvr.reporting.study.found import Found
from rlvr.reporting.study.shifts import read_shift, shift_table
from rlvr.reporting.tables import class_table, outcome_table, switch_class_table
from rlvr.runtime.disk.dumps import without_nan
from rlvr.stats.accuracy import Comparison, accuracy_ci95, compare_correct
from rlvr.stats.student import holm, interval_text, p_text

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
Part = str | TextTable | Figure  # a paragraph, a table or a figure


@dataclass(frozen=True, slots=True)
class StudyTraining:
    """One training of question 3 on one held-out set."""

    task: str
    recipe: str
    evaluation: str
    before: float  # nan where metrics.jsonl does not have it, as a note says
    run: FinishedRun
    # Less the first recipe on the same task, paired by problem; None for that itself.
    against: Comparison | None
    p_holm: float = math.nan  # corrected over all rows


def moved(found: Found) -> Iterator[Part]:
    """Question 1."""
    if found.main is not None:
        yield from (headline_table(found.main), _sections(found.main), outcome_table(found.main))
        yield from (figure for figure in shift_figures(found.main) if figure.name not in LEFT_OUT)


def rules(found: Found) -> Iterator[Part]:
    """Question 2."""
    cross = found.cross
    if cross is None:
        return
    counts, ends = cross.content["counts"], cross.content["endpoints"]
    said = "; ".join(
        f"{name} alone {interval_text(end['accuracy'], end['ci_low'], end['ci_high'])}"
        for name, end in ends.items()
    )
    yield f"{counts['problems']} problems, {counts['samples_per_problem']} samples of each. Accuracy: {said}."
    rows = [BudgetRow(**row) for row in without_nan(cross.budgets.to_pylist())]
    pairs = [PairRow(**row) for row in read_csv(cross.folder / "pairs.csv", PAIR_COLUMNS).to_pylist()]
    yield rule_table(rows, pairs)
    yield from cross_figures(cross)


def kinds(found: Found) -> Iterator[Part]:
    """Question 3."""
    rows = _trained(found)
    if not rows:
        return
    for task in found.study.cfg.tasks:
        yield from found.notes(task)
    yield training_table(rows, found.study.cfg.training[0])
    names = {f"{t.task}, {t.recipe}": f"{t.task}/{t.run.name}" for t in rows}
    own = {label: found.analyses[name] for label, name in names.items() if name in found.analyses}
    if own:
        yield shift_table([read_shift(analysis.folder.parent, label) for label, analysis in own.items()])
        yield _class_shares(own)
        yield _sparsity(own)


def weightings(found: Found) -> Iterator[Part]:
    """Question 4."""
    result = found.weighting()
    if result is None:
        return
    yield from (sweep_tables.HOW, *found.notes(found.study.task))
    yield from (ranking(result.rows, evaluation) for evaluation in result.evaluations)
    yield from (sweep_tables.outcome_table(result, evaluation) for evaluation in result.evaluations)
    for table in (sweep_tables.concentration_table, sweep_tables.weight_table, sweep_tables.divergence_table):
        yield table(result)
    for evaluation in result.evaluations:
        yield from differences(result, evaluation)
        yield from overview(result, [held_out(evaluation)])


def truncation(found: Found) -> Iterator[Part]:
    """Question 5."""
    if found.main is not None:
        yield from (_agreement(found.main), _thresholds(found.main))
        yield from (figure for figure in shift_figures(found.main) if figure.name == "truncation")


def classes(found: Found) -> Iterator[Part]:
    """Question 6."""
    shift = None if found.main is None else class_table(found.main)
    switches = None if found.cross is None else switch_class_table(found.cross)
    yield from (table for table in (shift, switches) if table is not None)


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
        ("mean JS", lambda r: _of(r, "mean_js", ".3f")),
        ("moved", lambda r: _of(r, "share_moved", ".1%")),
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
        ("agreement", lambda r: _of(r, "agreement", ".1%")),
        ("recall", lambda r: _of(r, "recall", ".1%")),
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
        *((head, lambda r, name=name: _of(r[1][name], "share_above", ".1%")) for name, head in heads.items()),
    )


def _of(row: Mapping[str, Any], name: str, form: str) -> str:
    """A column with its interval; a dash where there is none."""
    return interval_text(row[name], row[f"{name}_low"], row[f"{name}_high"], form)


def _trained(found: Found) -> list[StudyTraining]:
    """Every training on every set, p-values corrected for having made all these tests."""
    rows: list[StudyTraining] = []
    cfg = found.study.cfg
    for task in cfg.tasks:
        runs = {run.name: run for run in found.runs(task)}
        named = {r: runs[name] for r in cfg.training if (name := run_name(r, cfg.seeds[0])) in runs}
        first = named.get(cfg.training[0])
        for recipe, run in named.items():
            for evaluation in run.correct:
                before = run.evals.get(0, {}).get(f"eval/{evaluation}/accuracy", math.nan)
                against = None if first is None or run is first else _against(run, first, evaluation)
                rows.append(StudyTraining(task, recipe, evaluation, before, run, against))
    adjusted = holm([math.nan if row.against is None else row.against.p_value for row in rows])
    return [replace(row, p_holm=p) for row, p in zip(rows, adjusted, strict=True)]


def _against(run: FinishedRun, other: FinishedRun, evaluation: str) -> Comparison | None:
    first, second = other.correct.get(evaluation, {}), run.correct[evaluation]
    both = [problem for problem in second if problem in first]
    if len(both) < 2:
        return None
    before, after = (as_array({problem: table[problem] for problem in both}) for table in (first, second))
    return compare_correct(before, after, "the two trainings")


def training_table(rows: Sequence[StudyTraining], first: str) -> TextTable:
    """Accuracy before and after, and the difference to the first recipe."""

    def difference(t: StudyTraining) -> str:
        a = t.against
        return "-" if a is None else interval_text(a.difference, a.low, a.high, "+.3f")

    seeds = ", ".join(str(seed) for seed in dict.fromkeys(t.run.summary.seed for t in rows))
    return text_table(
        f"Kinds of training, seed {seeds}. Accuracy on the held-out problems (95 %, clustered by problem). Difference: "
        f"less {first} on the same task, paired by problem; p of that paired t-test, corrected over all rows (Holm); "
        "detectable: the smallest difference that this test finds with 80 % power. With one seed the problems are the "
        "unit: another run of the same training may differ by more.",
        rows,
        ("task", lambda t: t.task),
        ("trained with", lambda t: t.recipe),
        ("before", lambda t: "-" if math.isnan(t.before) else f"{t.before:.3f}"),
        ("after", lambda t: interval_text(*accuracy_ci95(as_array(t.run.correct[t.evaluation])))),
        (f"less {first}", difference),
        ("p (Holm)", lambda t: p_text(t.p_holm)),
        ("detectable", lambda t: "-" if t.against is None else f"{t.against.detectable:.3f}"),
    )


def _class_shares(analyses: dict[str, LoadedAnalysis]) -> TextTable:
    """What each class of tokens has of the summed divergence, training by training."""
    shares: dict[str, dict[str, float]] = {}
    for name, analysis in analyses.items():
        own = analysis.rows("classes", trajectory="policy")
        shares[name] = dict(zip(own["class"].to_pylist(), own["share_of_js"].to_pylist(), strict=True))
    known = list(dict.fromkeys(one for own in shares.values() for one in own))
    return text_table(
        "What each class of tokens has of the summed JS on the policy's own responses.",
        shares.items(),
        ("trained with", lambda r: r[0]),
        *((one, lambda r, one=one: f"{r[1].get(one, 0.0):.1%}") for one in known),
    )


def _sparsity(analyses: Mapping[str, LoadedAnalysis]) -> Figure:
    """The distribution of the divergence, training by training."""
    own = {name: one.rows("sparsity", trajectory="policy", measure="js") for name, one in analyses.items()}
    rows = stacked(own, "trained with")
    above = rows.filter(pc.greater(rows["at_most"], 0))
    lines = series(above, "trained with", {name: name for name in own}, "at_most", "share", marker=None)
    return described("kinds_sparsity", rows, {}, lines=lines, height=4.2)


def stacked(tables: Mapping[str, pa.Table], column: str) -> pa.Table:
    """The rows of all tables below each other, with the name of each in a first column."""
    return pa.concat_tables(
        table.add_column(0, column, pa.array([name] * len(table), pa.string()))
        for name, table in tables.items()
    )
