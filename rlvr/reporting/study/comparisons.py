"""The sections about several trainings: kinds of training on every task, and weightings over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from rlvr.analysis.loaded import LoadedAnalysis
from rlvr.analysis.study.plan import run_name
from rlvr.analysis.sweep import tables as sweep_tables
from rlvr.analysis.sweep.compare import as_array, ranking
from rlvr.analysis.sweep.runs import FinishedRun
from rlvr.analysis.tables import TextTable, text_table
from rlvr.reporting.figures.canvas import Figure, described, series
from rlvr.reporting.figures.sweep import differences, held_out, overview
from rlvr.reporting.study.found import Found
from rlvr.reporting.study.sections import Section
from rlvr.reporting.study.shifts import read_shift, shift_table
from rlvr.stats.accuracy import Comparison, accuracy_ci95, compare_correct
from rlvr.stats.student import holm, interval_text, p_text


@dataclass(frozen=True, slots=True)
class Trained:
    """One training of question 3 on one held-out set."""

    task: str
    recipe: str
    evaluation: str
    before: float  # nan where metrics.jsonl does not have it, as a note says
    run: FinishedRun
    # Less the first recipe on the same task, paired by problem; None for that itself.
    against: Comparison | None
    p_holm: float = math.nan  # corrected over all rows


def kinds(found: Found) -> Section | None:
    """Question 3."""
    rows = _trained(found)
    if not rows:
        return None
    analysed = found.analyses()
    names = {f"{t.task}/{run_name(t.recipe, t.run.summary.seed)}": f"{t.task}, {t.recipe}" for t in rows}
    own = {label: analysed[name] for name, label in names.items() if name in analysed}
    shifts = [read_shift(analysis.folder.parent, label) for label, analysis in own.items()]
    tables = [outcome_table(rows, found.study.cfg.training[0])]
    if own:
        tables += [shift_table(shifts), _class_shares(own)]
    notes = tuple(note for task in found.study.cfg.tasks for note in found.notes(task))
    return Section(tuple(tables), (_sparsity(own),) if own else (), notes)


def weightings(found: Found) -> Section | None:
    """Question 4."""
    result = found.weighting()
    if result is None:
        return None
    tables: list[TextTable] = []
    figures: list[Figure] = []
    said: list[str] = [sweep_tables.HOW, *found.notes(found.study.task)]
    for evaluation in result.evaluations:
        tables.append(sweep_tables.outcome_table(result, evaluation))
        said.append(ranking(result.rows, evaluation))
        figures += [figure for figure in (differences(result, evaluation),) if figure is not None]
        figures += overview(result, [held_out(evaluation)])
    tables += [
        sweep_tables.concentration_table(result),
        sweep_tables.weight_table(result),
        sweep_tables.divergence_table(result),
    ]
    return Section(tuple(tables), tuple(figures), tuple(said))


def _trained(found: Found) -> list[Trained]:
    """Every training on every set, p-values corrected for having made all these tests."""
    rows: list[Trained] = []
    cfg = found.study.cfg
    for task in cfg.tasks:
        runs = {run.name: run for run in found.runs(task)}
        named = {recipe: runs.get(run_name(recipe, cfg.seeds[0])) for recipe in cfg.training}
        first = named[cfg.training[0]]
        for recipe, run in named.items():
            for evaluation in () if run is None else run.correct:
                assert run is not None
                before = run.evals.get(0, {}).get(f"eval/{evaluation}/accuracy", math.nan)
                against = None if first is None or run is first else _against(run, first, evaluation)
                rows.append(Trained(task, recipe, evaluation, before, run, against))
    adjusted = holm([math.nan if row.against is None else row.against.p_value for row in rows])
    return [replace(row, p_holm=p) for row, p in zip(rows, adjusted, strict=True)]


def _against(run: FinishedRun, other: FinishedRun, evaluation: str) -> Comparison | None:
    first, second = other.correct.get(evaluation, {}), run.correct[evaluation]
    both = [problem for problem in second if problem in first]
    if len(both) < 2:
        return None
    before, after = (as_array({problem: table[problem] for problem in both}) for table in (first, second))
    return compare_correct(before, after, "the two trainings")


def outcome_table(rows: Sequence[Trained], first: str) -> TextTable:
    """Accuracy before and after, and the difference to the first recipe."""

    def after(t: Trained) -> str:
        return interval_text(*accuracy_ci95(as_array(t.run.correct[t.evaluation])))

    def difference(t: Trained) -> str:
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
        ("after", after),
        (f"less {first}", difference),
        ("p (Holm)", lambda t: p_text(t.p_holm)),
        ("detectable", lambda t: "-" if t.against is None else f"{t.against.detectable:.3f}"),
    )


def _class_shares(analyses: dict[str, LoadedAnalysis]) -> TextTable:
    """What each class of tokens has of the summed divergence, training by training."""
    shares = {
        name: {
            row["class"]: row["share_of_js"]
            for row in analysis.rows("classes", trajectory="policy").to_pylist()
        }
        for name, analysis in analyses.items()
    }
    known = list(dict.fromkeys(one for own in shares.values() for one in own))
    return text_table(
        "What each class of tokens has of the summed JS on the policy's own responses.",
        shares.items(),
        ("trained with", lambda r: r[0]),
        *((one, lambda r, one=one: f"{r[1].get(one, 0.0):.1%}") for one in known),
    )


def _sparsity(analyses: dict[str, LoadedAnalysis]) -> Figure:
    """The distribution of the divergence, training by training."""
    parts = []
    for name, analysis in analyses.items():
        own = analysis.rows("sparsity", trajectory="policy", measure="js")
        parts.append(own.add_column(0, "trained with", pa.array([name] * own.num_rows)))
    rows = pa.concat_tables(parts)
    above = rows.filter(pc.greater(rows["at_most"], 0))
    names = {name: name for name in analyses}
    lines = series(above, "trained with", names, "at_most", "share", marker=None)
    return described("kinds_sparsity", rows, {}, lines=lines, height=4.2)
