"""The report of a sweep as Markdown and as CSV files. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict

import pyarrow as pa

from rlvr.analysis.sweep import tables
from rlvr.analysis.sweep.compare import ConditionResult, ranking
from rlvr.analysis.sweep.tables import SweepResult
from rlvr.analysis.sweep.training import CONCENTRATION, DIVERGENCE, ENTROPY, WEIGHT
from rlvr.analysis.tables import TextTable, as_csv
from rlvr.stats.accuracy import Estimate
from rlvr.stats.seeds import PairedDifference, SeedMean

_NO_GAIN = PairedDifference(math.nan, math.nan, math.nan, math.nan, 0, None)
_NO_ESTIMATE = Estimate(math.nan, math.nan, math.nan)
# Of training, by step.
CURVES = ("accuracy", "reward/mean", "length/mean", ENTROPY, *DIVERGENCE, *WEIGHT, *CONCENTRATION)


def markdown(found: SweepResult) -> str:
    """The report as Markdown."""
    steps = " or ".join(str(n) for n in found.setup.steps)
    lines = [f"# {found.sweep.name}", "", f"Baseline: {found.baseline}. {steps} steps. {tables.HOW}"]
    if found.notes:
        lines += ["", "Missing or unlike:", "", *(f"- {note}" for note in found.notes)]
    for evaluation in found.evaluations:
        lines += ["", f"## {evaluation}", *_table(tables.outcome_table(found, evaluation))]
        lines += ["", ranking(found.rows, evaluation), *_table(tables.curve_table(found, evaluation))]
    lines += ["", "## Divergence, weight, entropy", *_table(tables.divergence_table(found))]
    lines += [*_table(tables.weight_table(found)), *_table(tables.concentration_table(found))]
    lines += ["", "## Time and tokens", *_table(tables.cost_table(found))]
    lines += ["", "## Set-up", *_table(tables.difference_table(found)), *_table(tables.versions_table(found))]
    lines += ["", "Settings of all runs:", "", "```", *tables.shared_settings(found), "```"]
    return "\n".join(lines) + "\n"


def _table(table: TextTable | None) -> list[str]:
    return [] if table is None else ["", *table.as_markdown()]


def outcome_csv(rows: Sequence[ConditionResult]) -> str:
    """report.csv, one line for each condition and evaluation set; what is unknown is empty."""
    lines = []
    for row in rows:
        problems = row.problems or _NO_ESTIMATE
        lines.append(
            {"evaluation": row.evaluation, "condition": row.condition}
            | _named("seed", row.seeds)
            | {"problem_low": problems.low, "problem_high": problems.high}
            | _named("gain", row.gain or _NO_GAIN)
            | _named("gain_problem", row.problem_gain or _NO_ESTIMATE)
            | {"p_holm": row.p_holm, "verdict": row.verdict}
        )
    return _csv(lines)


def training_csv(found: SweepResult) -> str:
    """report_training.csv, one line a condition: the end of training with intervals over seeds, time, tokens."""
    lines = []
    for one in found.trained:
        values: dict[str, object] = {"condition": one.condition, "runs": one.runs}
        for name in ("train_seconds", "setup_seconds", "tokens"):
            mean = _named(name, getattr(one, name))
            values |= {key: value for key, value in mean.items() if key != f"{name}_seeds"}
        values |= {"total_seconds": one.total_seconds, "total_tokens": one.total_tokens}
        values["tokens_per_second"] = one.tokens_per_second
        for metric in (*DIVERGENCE, *WEIGHT, ENTROPY, *CONCENTRATION):
            values |= _named(metric, one.ending[metric])
        lines.append(values)
    return _csv(lines)


def curves_csv(found: SweepResult) -> str:
    """report_curves.csv, one line for each condition, metric and step: mean over seeds and the band's ends."""
    metrics = [f"eval/{name}/{part}" for name in found.evaluations for part in ("accuracy", "length")]
    lines: list[dict[str, object]] = [
        {"condition": condition, "metric": metric, "step": step} | asdict(over_seeds)
        for metric in (*metrics, *CURVES)
        for condition in found.conditions
        for step, over_seeds in found.curve(condition, metric).items()
    ]
    return _csv(lines, ("condition", "metric", "step", "mean", "low", "high", "seeds"))


def _named(prefix: str, estimate: SeedMean | PairedDifference | Estimate) -> dict[str, object]:
    return {f"{prefix}_{key}": value for key, value in asdict(estimate).items()}


def _csv(lines: Sequence[dict[str, object]], names: Sequence[str] = ()) -> str:
    """A file of equal lines; what is unknown or infinite is empty."""
    return as_csv(pa.table({name: [_known(line[name]) for line in lines] for name in names or lines[0]}))


def _known(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value
