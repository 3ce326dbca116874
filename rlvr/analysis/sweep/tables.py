"""The report of a sweep as tables of text, the same in Markdown and on the page. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from rlvr.analysis.sweep import training
from rlvr.analysis.sweep.compare import LEAST_SEEDS, ConditionResult, compare_conditions
from rlvr.analysis.sweep.runs import FinishedRun, SweepFolder, by_condition, grouped
from rlvr.analysis.sweep.setup import Setup, setup_of
from rlvr.analysis.tables import TextTable, text_table
from rlvr.runtime.disk.rows import listed
from rlvr.stats.accuracy import Estimate
from rlvr.stats.seeds import PairedDifference, SeedMean
from rlvr.stats.student import p_text

CURVE_COLUMNS = 8  # evaluated steps in a table
HOW = (
    "Intervals are 95 %. Over seeds: Student's t of the runs' accuracies. Over problems: clustered by problem, all "
    "seeds' samples. Difference: accuracy less the baseline's. Over seeds it pairs equal seeds; p is of the paired "
    "t-test with Holm's correction over all comparisons of the report, and the verdict rests on it. Over "
    "problems it is the mean of each problem's own difference, all samples of the common seeds counted, with the "
    "problem as the unit: it says how the difference of these very runs would move with other problems. No interval "
    "covers both at once. What the seeds could have shown: the smallest difference that a test of this one comparison "
    "alone, without Holm's correction, finds with 80 % power, given the spread of the paired differences."
)


@dataclass(frozen=True, slots=True)
class SweepResult:
    """What a sweep came to: everything that is reported about it."""

    sweep: SweepFolder
    baseline: str
    conditions: dict[str, list[FinishedRun]]  # the runs of each, those of the baseline first
    rows: tuple[ConditionResult, ...]
    setup: Setup
    trained: tuple[training.Trained, ...]  # of each condition

    @property
    def evaluations(self) -> list[str]:
        """The names of the evaluation sets."""
        return list(dict.fromkeys(row.evaluation for row in self.rows))

    @property
    def notes(self) -> tuple[str, ...]:
        """What is missing, damaged or unlike, one sentence each."""
        left_out = {"finished": self.sweep.unfinished, "started": self.sweep.not_started}
        jobs = [f"Left out, not {what}: {by_condition(names)}." for what, names in left_out.items() if names]
        return (*jobs, *self.sweep.notes, *self.setup.notes)

    def curve(self, condition: str, metric: str) -> training.Curve:
        """A metric of a condition over steps."""
        return training.curve(self.conditions[condition], metric)


def sweep_result(sweep: SweepFolder, baseline: str) -> SweepResult:
    """Compare the conditions of a sweep."""
    runs = grouped(sweep.runs, lambda run: run.condition)
    conditions = {baseline: runs[baseline]} | runs
    return SweepResult(
        sweep=sweep,
        baseline=baseline,
        conditions=conditions,
        rows=tuple(compare_conditions(sweep.runs, baseline)),
        setup=setup_of(sweep.runs),
        trained=tuple(map(training.trained, conditions.values())),
    )


def shared_settings(found: SweepResult) -> list[str]:
    """The settings that all runs have in common, one line each."""
    return [f"{key}: {value}" for key, value in found.setup.shared.items()]


def outcome_table(found: SweepResult, evaluation: str) -> TextTable:
    """Accuracy after training and the difference to the baseline."""
    problems, samples = found.setup.sizes[evaluation]
    return text_table(
        f"Accuracy after training on {evaluation}, {problems} problems, {samples} samples of each a run, against "
        f"{found.baseline}.",
        [row for row in found.rows if row.evaluation == evaluation],
        ("condition", lambda row: row.condition),
        ("seeds", lambda row: str(row.seeds.seeds)),
        ("accuracy", lambda row: f"{row.seeds.mean:.4f}"),
        ("over seeds", lambda row: _interval(row.seeds, "{:.4f}".format)),
        ("over problems", lambda row: _interval(row.problems, "{:.4f}".format)),
        ("difference", lambda row: "-" if row.gain is None else signed(row.gain.mean)),
        ("over seeds", lambda row: _interval(row.gain, signed)),
        ("over problems", lambda row: _interval(row.problem_gain, signed)),
        ("p (Holm)", lambda row: p_text(row.p_holm)),
        ("verdict", lambda row: row.verdict),
    )


def curve_table(found: SweepResult, evaluation: str) -> TextTable | None:
    """Held-out accuracy at some of the evaluated steps; None if no run logged it."""
    metric = f"eval/{evaluation}/accuracy"
    curves = {c: found.curve(c, metric) for c in found.conditions}
    steps = sorted({step for one in curves.values() for step in one})
    if not steps:
        return None
    last = len(steps) - 1
    shown = sorted({steps[round(i * last / (CURVE_COLUMNS - 1))] for i in range(CURVE_COLUMNS)})
    baseline = curves[found.baseline]
    target = baseline[max(baseline)].mean if baseline else math.nan
    rows = []
    for condition, one in curves.items():
        reached = training.first_step_at(one, target)
        cells = (f"{one[step].mean:.4f}" if step in one else "-" for step in shown)
        rows.append((condition, *cells, "-" if reached is None else str(reached)))
    level = f" Reached at: the first evaluated step with the baseline's last mean, {target:.4f}."
    return TextTable(
        ("condition", *(f"step {step}" for step in shown), "reached at"),
        tuple(rows),
        f"Accuracy on {evaluation} by step, mean over seeds.{level if baseline else ''}",
    )


def divergence_table(found: SweepResult) -> TextTable:
    """Percentiles of the divergence at the end of training."""
    counts = [(one.condition, one.ending[training.DIVERGENCE[0]].seeds, one.runs) for one in found.trained]
    lacking = [f"{condition} ({n} of {runs} runs)" for condition, n, runs in counts if n < runs]
    note = f" Not recorded by all runs of {listed(lacking)}: tracking.signals=[js_base] records it."
    return _late_means(
        found,
        "JS(policy, base) [nats] of the tokens trained on, over the last fifth of the steps: mean over seeds of each "
        f"run's mean and percentiles.{note if lacking else ''}",
        training.MARKS,
        training.DIVERGENCE,
        ("seeds", lambda one: str(one.ending[training.DIVERGENCE[0]].seeds)),
    )


def weight_table(found: SweepResult) -> TextTable:
    """Percentiles of the token weight, and entropy, at the end of training."""
    return _late_means(
        found,
        "What the plug-in multiplied each token's advantage with, and the policy's entropy [nats], over the last "
        "fifth of the steps: mean over seeds.",
        ("weight mean", *training.WEIGHT_MARKS[1:], "entropy mean"),
        (*training.WEIGHT, training.ENTROPY),
    )


def concentration_table(found: SweepResult) -> TextTable:
    """How few tokens carried the weights and the gradient at the end of training."""
    heads = ("Gini of the weights", "effective tokens", "gradient of top 1 %", "top 5 %", "top 20 %")
    return _late_means(
        found,
        "How few tokens carry the weights and the gradient, over the last fifth of the steps: mean over seeds of the "
        "weights' Gini coefficient, of the effective share of tokens (sum w)^2 / (T sum w^2), and of the share of the "
        "tokens' gradient norms that the largest have.",
        heads,
        training.CONCENTRATION,
    )


def _late_means(
    found: SweepResult,
    caption: str,
    heads: Sequence[str],
    metrics: Sequence[str],
    *before: tuple[str, Callable[[training.Trained], str]],
) -> TextTable:
    """The means at the end of training by the heads of their columns, behind columns that stand `before` them."""
    columns = ((head, partial(_late, metric)) for head, metric in zip(heads, metrics, strict=True))
    return text_table(caption, found.trained, ("condition", lambda one: one.condition), *before, *columns)


def _late(metric: str, one: training.Trained) -> str:
    return f"{one.ending[metric].mean:.3g}" if one.ending[metric].seeds else "-"


def cost_table(found: SweepResult) -> TextTable:
    """Wall time and tokens."""
    resumed = sum(run.summary.resumed_from is not None for run in found.sweep.runs)
    note = f" Resumed, {resumed} of the runs: of these only the last start is counted, and no step that was done twice."
    table = text_table(
        "Wall time and tokens sampled for training. Training includes evaluation and checkpoints; start is from the "
        "process to the first step; tokens/s are of the training time; all runs: start and training of every run, "
        f"one after another.{note if resumed else ''}",
        found.trained,
        ("condition", lambda one: one.condition),
        ("runs", lambda one: str(one.runs)),
        ("training, s a run", lambda one: f"{one.train_seconds.mean:.1f}"),
        ("start, s a run", lambda one: f"{one.setup_seconds.mean:.1f}"),
        ("tokens a run", lambda one: f"{one.tokens.mean:,.0f}"),
        ("tokens/s", lambda one: f"{one.tokens_per_second:,.0f}"),
        ("all runs, h", lambda one: f"{one.total_seconds / 3600:.2f}"),
        ("all tokens", lambda one: f"{one.total_tokens:,}"),
    )
    runs, hours = sum(c.runs for c in found.trained), sum(c.total_seconds for c in found.trained) / 3600
    tokens = sum(c.total_tokens for c in found.trained)
    total = ("all", str(runs), "", "", "", "", f"{hours:.2f}", f"{tokens:,}")
    return replace(table, rows=(*table.rows, total))


def difference_table(found: SweepResult) -> TextTable | None:
    """The settings in which the conditions differ; None if there are none."""
    different = found.setup.different
    rows = ((key, *(values.get(c, "-") for c in found.conditions)) for key, values in different.items())
    caption = (
        f"Settings in which conditions differ. The other {len(found.setup.shared)} are the same in all runs, apart "
        "from seed, run.*, tracking.* and cluster.jobs."
    )
    return TextTable(("setting", *found.conditions), tuple(rows), caption) if different else None


def versions_table(found: SweepResult) -> TextTable:
    """Versions of the packages; a column for each set of versions."""
    versions = found.setup.versions
    heads = ["all runs"] if len(versions) == 1 else [listed(list(runs)) for _, runs in versions]
    names = sorted({name for packages, _ in versions for name in packages})
    rows = ((name, *(packages.get(name, "-") for packages, _ in versions)) for name in names)
    return TextTable(("package", *heads), tuple(rows), "Versions.")


def _interval(found: SeedMean | PairedDifference | Estimate | None, number: Callable[[float], str]) -> str:
    """An interval as text; unknown where one value alone gives none."""
    if found is None:
        return "-"
    return f"{number(found.low)}..{number(found.high)}" if math.isfinite(found.low) else "unknown"


def signed(value: float) -> str:
    """A difference; none is +0.0000, on whichever side of zero rounding left it."""
    return f"{round(value, 4) + 0.0:+.4f}"


def bands(found: SweepResult, conditions: Sequence[str]) -> str:
    """What the bands of these conditions' curves are."""
    few = [c for c in conditions if len(found.conditions[c]) < LEAST_SEEDS]
    less = f"; with fewer than {LEAST_SEEDS} seeds ({listed(few)}) from the smallest to the largest run"
    return f"Bands: 95 % t-intervals over seeds{less if few else ''}."
