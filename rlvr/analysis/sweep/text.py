"""The report of a sweep as Markdown and as CSV files. Pure."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import asdict

from rlvr.analysis.sweep.compare import Row, ranking
from rlvr.analysis.sweep.tables import (
    HOW,
    Findings,
    Table,
    cost_table,
    curve_table,
    difference_table,
    divergence_table,
    outcome_table,
    versions_table,
    weight_table,
)
from rlvr.analysis.sweep.training import DIVERGENCE, ENTROPY, WEIGHT
from rlvr.stats.accuracy import Estimate
from rlvr.stats.seeds import PairedDifference, SeedMean

_NO_GAIN = PairedDifference(math.nan, math.nan, math.nan, math.nan, 0, None)
_NO_MEAN = SeedMean(math.nan, math.nan, math.nan, 0)
CURVES = ("accuracy", "reward/mean", "length/mean", ENTROPY, *DIVERGENCE, *WEIGHT)  # of training, by step


def markdown(found: Findings) -> str:
    """The report as Markdown."""
    steps = " or ".join(str(n) for n in found.setup.steps)
    lines = [f"# {found.sweep.name}", "", f"Baseline: {found.baseline}. {steps} steps. {HOW}"]
    if found.notes:
        lines += ["", "Missing or unlike:", "", *(f"- {note}" for note in found.notes)]
    for evaluation in found.evaluations:
        lines += ["", f"## {evaluation}", "", *_table(outcome_table(found, evaluation))]
        lines += ["", ranking(found.rows, evaluation)]
        if (curve := curve_table(found, evaluation)) is not None:
            lines += ["", *_table(curve)]
    lines += ["", "## Divergence, weight, entropy", "", *_table(divergence_table(found))]
    lines += ["", *_table(weight_table(found)), "", "## Time and tokens", "", *_table(cost_table(found))]
    lines += ["", "## Set-up"]
    for table in (difference_table(found), versions_table(found)):
        if table is not None:
            lines += ["", *_table(table)]
    lines += ["", "Settings of all runs:", "", "```", *shared_settings(found), "```"]
    return "\n".join(lines) + "\n"


def shared_settings(found: Findings) -> list[str]:
    """The settings that all runs have in common, one line each."""
    return [f"{key}: {value}" for key, value in found.setup.shared.items()]


def _table(table: Table) -> list[str]:
    lines = [table.header, ("---",) * len(table.header), *table.rows]
    return [
        table.caption,
        "",
        *("| " + " | ".join(c.replace("|", "\\|") for c in line) + " |" for line in lines),
    ]


def outcome_csv(rows: Sequence[Row]) -> str:
    """report.csv, one line for each condition and evaluation set; what is unknown is empty."""
    lines = []
    for row in rows:
        low, high = row.problems or (math.nan, math.nan)
        by_problem = row.problem_gain or Estimate(math.nan, math.nan, math.nan)
        values: dict[str, object] = {"evaluation": row.evaluation, "condition": row.condition}
        values |= {f"seed_{key}": value for key, value in asdict(row.seeds).items()}
        values |= {"problem_low": low, "problem_high": high}
        values |= {f"gain_{key}": value for key, value in asdict(row.gain or _NO_GAIN).items()}
        values |= {f"gain_problem_{key}": value for key, value in asdict(by_problem).items()}
        lines.append(values | {"p_holm": row.p_holm, "verdict": row.verdict})
    return _csv(lines)


def training_csv(found: Findings) -> str:
    """report_training.csv, one line a condition: the end of training with intervals over seeds, time, tokens."""
    lines = []
    for ending, cost in zip(found.endings, found.costs, strict=True):
        values: dict[str, object] = {"condition": cost.condition, "runs": cost.runs}
        for name in ("train_seconds", "setup_seconds", "tokens"):
            mean: SeedMean = getattr(cost, name)
            values |= {f"{name}_mean": mean.mean, f"{name}_low": mean.low, f"{name}_high": mean.high}
        values |= {"total_seconds": cost.total_seconds, "total_tokens": cost.total_tokens}
        values["tokens_per_second"] = cost.tokens_per_second
        for metric in (*DIVERGENCE, *WEIGHT, ENTROPY):
            estimate = asdict(ending.values.get(metric, _NO_MEAN))
            values |= {f"{metric}_{key}": value for key, value in estimate.items()}
        lines.append(values)
    return _csv(lines)


def curves_csv(found: Findings) -> str:
    """report_curves.csv, one line for each condition, metric and step: mean over seeds and the band's ends."""
    metrics = [f"eval/{name}/{part}" for name in found.evaluations for part in ("accuracy", "length")]
    lines: list[dict[str, object]] = [
        {"condition": condition, "metric": metric} | asdict(point)
        for metric in (*metrics, *CURVES)
        for condition in found.conditions
        for point in found.curve(condition, metric).points
    ]
    return _csv(lines, ("condition", "metric", "step", "mean", "low", "high", "seeds"))


def _csv(lines: Sequence[dict[str, object]], names: Sequence[str] = ()) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=names or list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _known(value) for key, value in line.items()} for line in lines)
    return text.getvalue()


def _known(value: object) -> object:
    return "" if value is None or (isinstance(value, float) and not math.isfinite(value)) else value
