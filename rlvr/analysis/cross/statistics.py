"""The figures of one budget: switches, accuracy with its interval, paired tests, recovered share of the gap.

Shapes: P problems, n samples of each. The problem is the unit of every interval and test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, replace
from typing import Any

from rlvr.analysis.cross.records import BUDGET_COLUMNS, BudgetRow, Part
from rlvr.analysis.cross.rules import RULES
from rlvr.analysis.tables import as_csv, table_of
from rlvr.stats.accuracy import Comparison, accuracy_ci95, avg_at_k, compare
from rlvr.stats.student import holm

TESTS = ("p_primary", "p_intervening", "p_js")
DIGITS = 10  # significant ones of the numbers in budgets.csv


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
    return as_csv(table_of(BUDGET_COLUMNS, map(astuple, rows)), digits=DIGITS)


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
