"""The figures of one budget: switches, accuracy with its interval, paired tests, recovered share of the gap.

Shapes: P problems, n samples of each. The problem is the unit of every interval and test.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from rlvr.analysis.cross.calibrate import Calibration
from rlvr.analysis.cross.rules import RULES
from rlvr.stats.accuracy import Comparison, EvalResult, accuracy_ci95, avg_at_k, compare
from rlvr.stats.student import holm


@dataclass(frozen=True, slots=True)
class Part:
    """One finished set of responses: an endpoint, or a direction, rule and budget."""

    name: str  # of its files
    direction: str  # forward | reverse | endpoint
    rule: str  # a name in RULES; of an endpoint: base | policy
    budget: float | None  # share of tokens asked for; None: a threshold was given, or an endpoint
    eps: float | None  # the JS threshold given instead of a budget, also of the controls that match it
    target: float | None  # share of tokens that the calibration aimed at
    threshold: float | None  # switched where the rule's score is greater; None for an endpoint
    calibration: Calibration | None  # None where the threshold needed no pilot
    tokens: int  # of all responses
    switches: int
    effective: int  # switches at which the primary would have sampled another token
    graded: EvalResult  # [P, n]

    @property
    def share(self) -> float:
        return self.switches / self.tokens

    @property
    def level(self) -> str:
        return level_name(self.budget, self.eps)


def level_name(budget: float | None, eps: float | None) -> str:
    """Return the name of a budget, or of a given threshold."""
    return f"eps{eps:g}" if budget is None else f"{budget:g}"


@dataclass(frozen=True, slots=True)
class BudgetRow:
    """One row of budgets.csv; differences are of the row's accuracy less the other's, on the same problems."""

    direction: str  # forward: policy switches into base; reverse: base into policy
    rule: str
    level: str  # the budget asked for, or eps<threshold>: rows of one direction and level belong together
    target_share: float | None  # what the calibration aimed at; empty where the threshold was given
    threshold: float  # js, entropy: nats; random: probability of a switch; earliest: positions
    problems: int
    responses: int
    tokens: int
    switches: int
    share: float  # switches / tokens
    effective_switches: int
    effective_share: float  # effective switches / tokens
    switches_per_response: float
    effective_per_response: float
    accuracy: float
    ci_low: float  # 95 %, clustered by problem
    ci_high: float
    difference_primary: float  # from the endpoint without switches
    difference_primary_low: float
    difference_primary_high: float
    p_primary: float
    difference_intervening: float  # from the endpoint that switches everywhere
    difference_intervening_low: float
    difference_intervening_high: float
    p_intervening: float
    recovered_share: float | None  # (accuracy - primary) / (intervening - primary); empty without a gap
    difference_js: float | None  # controls: from the JS rule at the same budget; empty for JS itself
    p_js: float | None
    mean_length: float  # response tokens
    truncated_share: float  # of responses
    p_primary_holm: float = math.nan  # the three p-values corrected together over all rows (Holm)
    p_intervening_holm: float = math.nan
    p_js_holm: float | None = None


TESTS = ("p_primary", "p_intervening", "p_js")
COLUMNS = tuple(field.name for field in fields(BudgetRow))


def budget_row(part: Part, primary: Part, intervening: Part, js: Part | None) -> BudgetRow:
    """Return the figures of a part against both endpoints, and against the JS rule if it is a control."""
    accuracy, low, high = accuracy_ci95(part.graded.correct)
    bottom, top = (avg_at_k(end.graded.correct) for end in (primary, intervening))
    from_primary = compare(primary.graded, part.graded)
    from_intervening = compare(intervening.graded, part.graded)
    from_js: Comparison | None = compare(js.graded, part.graded) if js is not None else None
    assert part.threshold is not None
    problems, samples = part.graded.correct.shape
    return BudgetRow(
        direction=part.direction,
        rule=part.rule,
        level=part.level,
        target_share=part.target,
        threshold=RULES[part.rule].setting(part.threshold),
        problems=problems,
        responses=problems * samples,
        tokens=part.tokens,
        switches=part.switches,
        share=part.share,
        effective_switches=part.effective,
        effective_share=part.effective / part.tokens,
        switches_per_response=part.switches / (problems * samples),
        effective_per_response=part.effective / (problems * samples),
        accuracy=accuracy,
        ci_low=low,
        ci_high=high,
        difference_primary=from_primary.difference,
        difference_primary_low=from_primary.low,
        difference_primary_high=from_primary.high,
        p_primary=from_primary.p_value,
        difference_intervening=from_intervening.difference,
        difference_intervening_low=from_intervening.low,
        difference_intervening_high=from_intervening.high,
        p_intervening=from_intervening.p_value,
        recovered_share=None if top == bottom else (accuracy - bottom) / (top - bottom),
        difference_js=None if from_js is None else from_js.difference,
        p_js=None if from_js is None else from_js.p_value,
        mean_length=float(part.graded.lengths.mean()),
        truncated_share=float(part.graded.truncated.mean()),
    )


def budget_rows(parts: Sequence[Part]) -> list[BudgetRow]:
    """Return one row for each part that is not an endpoint; both endpoints must be among the parts."""
    ends = {part.rule: part for part in parts if part.direction == "endpoint"}
    js_parts = {(p.direction, p.level): p for p in parts if p.rule == "js"}
    rows = []
    for part in parts:
        if part.direction == "endpoint":
            continue
        names = ("base", "policy") if part.direction == "forward" else ("policy", "base")
        js = None if part.rule == "js" else js_parts.get((part.direction, part.level))
        rows.append(budget_row(part, ends[names[0]], ends[names[1]], js))
    return corrected(rows)


def corrected(rows: Sequence[BudgetRow]) -> list[BudgetRow]:
    """Return the rows with their p-values corrected for having made all these tests."""
    tests = [
        (row, name) for row in range(len(rows)) for name in TESTS if getattr(rows[row], name) is not None
    ]
    adjusted = holm([getattr(rows[row], name) for row, name in tests])
    fresh: list[dict[str, Any]] = [{} for _ in rows]
    for (row, name), p in zip(tests, adjusted, strict=True):
        fresh[row][f"{name}_holm"] = p
    return [replace(row, **values) for row, values in zip(rows, fresh, strict=True)]


def rows_as_csv(rows: Sequence[BudgetRow]) -> str:
    """Return the text of budgets.csv; an empty cell means that there is no such number."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([_cell(getattr(row, name)) for name in COLUMNS])
    return text.getvalue()


def endpoint_summary(part: Part) -> dict[str, Any]:
    """Return accuracy, interval and lengths of an endpoint."""
    accuracy, low, high = accuracy_ci95(part.graded.correct)
    return {
        "accuracy": accuracy,
        "ci_low": low,
        "ci_high": high,
        "tokens": part.tokens,
        "mean_length": float(part.graded.lengths.mean()),
        "truncated_share": float(part.graded.truncated.mean()),
    }


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    return f"{value:.10g}" if isinstance(value, float | np.floating) else value
