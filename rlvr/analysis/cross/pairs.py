"""Every rule against every other at the same budget: pairs.csv, and the tables that a person reads. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations, groupby
from operator import attrgetter

from rlvr.analysis.cross.records import EFFECTIVE, EFFECTIVE_TOLERANCE, BudgetRow, Part
from rlvr.analysis.tables import TextTable, columns_of, text_table
from rlvr.stats.accuracy import compare
from rlvr.stats.student import RESOLUTION, holm, interval_text, p_text


@dataclass(frozen=True, slots=True)
class PairRow:
    """One row of pairs.csv: two rules of one direction and level on the same problems, paired by problem."""

    direction: str
    level: str  # as in budgets.csv
    first: str
    second: str
    first_share: float  # what the budget counts, as measured on the responses compared
    second_share: float
    met: str  # yes, no: both are as near to their effective budget as is asked of them, or not; empty for other budgets
    problems: int
    difference: float  # accuracy of the first less that of the second
    low: float  # 95 %, clustered by problem: t with problems - 1 degrees of freedom
    high: float
    detectable: float  # the smallest difference that this test finds with 80 % power
    p: float  # two-sided, never below 0.0001
    p_holm: float = math.nan  # corrected for all rows of the file (Holm)


PAIR_COLUMNS = columns_of(PairRow)


def pair_rows(parts: Sequence[Part]) -> list[PairRow]:
    """All pairs of rules in every direction and at every level, corrected together."""
    place = attrgetter("direction", "level")
    own = [part for part in parts if part.direction != "endpoint"]
    rows: list[PairRow] = []
    for _, together in groupby(sorted(own, key=place), key=place):
        rows += [_pair(first, second) for first, second in combinations(together, 2)]
    corrected = holm([row.p for row in rows])
    return [
        replace(row, p=max(row.p, RESOLUTION), p_holm=max(p, RESOLUTION))
        for row, p in zip(rows, corrected, strict=True)
    ]


def _pair(first: Part, second: Part) -> PairRow:
    found = compare(second.graded, first.graded)
    return PairRow(
        direction=first.direction,
        level=first.level,
        first=first.rule,
        second=second.rule,
        first_share=first.measured,
        second_share=second.measured,
        met="" if first.budget_of != EFFECTIVE else "no" if first.missed or second.missed else "yes",
        problems=found.problems,
        difference=found.difference,
        low=found.low,
        high=found.high,
        detectable=found.detectable,
        p=found.p_value,
    )


def rules_page(rows: Sequence[BudgetRow], pairs: Sequence[PairRow]) -> str:
    """The text of rules.md: every budget with what was measured, then every pair of rules."""
    tables = [rule_table(rows, pairs), pair_table(pairs)]
    return "\n\n".join("\n".join(table.as_markdown()) for table in tables) + "\n"


def rule_table(rows: Sequence[BudgetRow], pairs: Sequence[PairRow]) -> TextTable:
    """Every direction, budget and rule: what it changed, how often it was right, and against random positions."""
    control = {(p.direction, p.level, p.first): (1.0, p) for p in pairs if p.second == "random"}
    control |= {(p.direction, p.level, p.second): (-1.0, p) for p in pairs if p.first == "random"}

    def asked(row: BudgetRow) -> float:
        return math.inf if row.target_share is None else round(row.target_share, 3)

    def less_random(row: BudgetRow) -> tuple[str, str, str]:
        """Against random positions: the difference with the sign of this row's, p, and what the test could find."""
        sign, pair = control.get((row.direction, row.level, row.rule), (0.0, None))
        if pair is None:
            return "-", "-", "-"
        low, high = sorted((sign * pair.low, sign * pair.high))
        difference = interval_text(sign * pair.difference, low, high, "+.3f")
        return difference, p_text(pair.p_holm), f"{pair.detectable:.3f}"

    return text_table(
        f"Accuracy (95 %, clustered by problem) at every budget. Changed: the other model's token was taken and the "
        f"primary would have sampled another one with the same random number; at an effective budget that share is "
        f"held to {EFFECTIVE_TOLERANCE:.0%} of the budget. Less random: paired by problem, p corrected for all "
        f"{len(pairs)} pairs of rules below (Holm). Detectable: the smallest difference that this test finds with 80 % "
        "power.",
        sorted(rows, key=lambda row: (row.direction, row.of_effective, asked(row), -row.accuracy)),
        ("direction", lambda r: r.direction),
        ("rule", lambda r: r.rule),
        ("asked", lambda r: "-" if r.target_share is None else f"{r.target_share:.2%}"),
        ("changed", lambda r: f"{r.effective_share:.2%}{' (missed)' if r.missed else ''}"),
        ("switched", lambda r: f"{r.share:.2%}"),
        ("accuracy", lambda r: interval_text(r.accuracy, r.ci_low, r.ci_high)),
        ("less random", lambda r: less_random(r)[0]),
        ("p (Holm)", lambda r: less_random(r)[1]),
        ("detectable", lambda r: less_random(r)[2]),
    )


def pair_table(pairs: Sequence[PairRow]) -> TextTable:
    """Every pair of rules."""
    return text_table(
        "Every rule against every other at the same budget: difference of accuracy (95 %) paired by problem, p "
        f"corrected for all {len(pairs)} rows (Holm). Met: whether both are within {EFFECTIVE_TOLERANCE:.0%} of an "
        "effective budget.",
        pairs,
        ("direction", lambda p: p.direction),
        ("budget", lambda p: p.level),
        ("rules", lambda p: f"{p.first} less {p.second}"),
        ("measured", lambda p: f"{p.first_share:.2%}, {p.second_share:.2%}"),
        ("met", lambda p: p.met or "-"),
        ("difference", lambda p: interval_text(p.difference, p.low, p.high, "+.3f")),
        ("p (Holm)", lambda p: p_text(p.p_holm)),
        ("detectable", lambda p: f"{p.detectable:.3f}"),
    )
