"""What cross-sampling leaves behind: finished parts, the thresholds found for them, and the figures of budgets.csv.

Shapes: P problems, n samples of each. The problem is the unit of every interval and test.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from rlvr.analysis.cross.rules import RULES
from rlvr.analysis.tables import columns_of
from rlvr.stats.accuracy import EvalResult, accuracy_ci95, avg_at_k, compare
from rlvr.stats.student import holm

# Direction -> the primary model, and the one that intervenes.
DIRECTIONS = {"forward": ("base", "policy"), "reverse": ("policy", "base")}
TESTS = ("p_primary", "p_intervening", "p_js")
DIGITS = 10  # significant ones of the numbers in budgets.csv
# What a budget counts, as a share of all tokens: every token that the intervening model samples, or only those at
# which the primary would have sampled another token with the same random number.
SWITCHED, EFFECTIVE = "switched", "effective"
EFFECTIVE_LEVEL = f"{EFFECTIVE}-"  # what the names of levels of effective budgets begin with
EFFECTIVE_TOLERANCE = 0.05  # relative error up to which the effective share of a part meets its budget


def misses(share: float, target: float | None) -> bool:
    """Whether an effective share is not the one asked for."""
    return target is not None and abs(share - target) > EFFECTIVE_TOLERANCE * target


@dataclass(frozen=True, slots=True)
class Calibration:
    """A threshold and what the pilot made of it."""

    target: float  # share of tokens
    threshold: float
    share: float  # of the pilot's tokens that were switched, or effectively so; of the part's own where it settled
    tokens: int  # of the same responses
    rounds: int  # sets of responses written with thresholds of this target


@dataclass(frozen=True, slots=True)
class PartKey:
    """Which responses are meant: an endpoint, or a direction and rule with a budget or a given JS threshold."""

    direction: str  # forward | reverse | endpoint
    rule: str  # a name in RULES; of an endpoint: base | policy
    budget: float | None = None  # share of tokens asked for; None: a threshold was given, or an endpoint
    eps: float | None = None  # the JS threshold given instead of a budget, also of the controls that match it
    budget_of: str = SWITCHED  # what the budget counts

    @property
    def level(self) -> str:
        """The name of the budget, or of the given threshold."""
        level = f"eps{self.eps:g}" if self.budget is None else f"{self.budget:g}"
        return EFFECTIVE_LEVEL + level if self.budget_of == EFFECTIVE else level

    @property
    def name(self) -> str:
        """The name of its files."""
        of_level = "" if self.direction == "endpoint" else f"-{self.level}"
        return f"{self.direction}-{self.rule}{of_level}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part(PartKey):
    """One finished set of responses."""

    target: float | None  # share of tokens that the calibration aimed at
    threshold: float | None  # switched where the rule's value is greater; None for an endpoint
    calibration: Calibration | None  # None where the threshold needed no pilot
    tokens: int  # of all responses
    switches: int
    effective: int  # switches at which the primary would have sampled another token
    graded: EvalResult  # [P, n]
    differing: int  # tokens at which the two models draw different ones, switched or not

    @property
    def share(self) -> float:
        return self.switches / self.tokens

    @property
    def measured(self) -> float:
        """What its budget counts, as a share of all tokens."""
        return (self.effective if self.budget_of == EFFECTIVE else self.switches) / self.tokens

    @property
    def missed(self) -> bool:
        """Whether its effective budget was not met."""
        return self.budget_of == EFFECTIVE and misses(self.measured, self.target)

    def figures(self) -> dict[str, Any]:
        """Accuracy with its interval, and lengths, as endpoints and budgets have them."""
        accuracy, low, high = accuracy_ci95(self.graded.correct)
        return {
            "accuracy": accuracy,
            "ci_low": low,
            "ci_high": high,
            "tokens": self.tokens,
            "mean_length": float(self.graded.lengths.mean()),
            "truncated_share": float(self.graded.truncated.mean()),
        }


@dataclass(frozen=True, slots=True)
class BudgetRow:
    """One row of budgets.csv; differences are of the row's accuracy less the other's, on the same problems."""

    direction: str  # forward: policy switches into base; reverse: base into policy
    rule: str
    # The budget asked for, or eps<threshold>; effective-... where it counts effective switches. Rows of one direction
    # and level belong together.
    level: str
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

    @property
    def of_effective(self) -> bool:
        """Whether its budget counts effective switches."""
        return self.level.startswith(EFFECTIVE_LEVEL)

    @property
    def missed(self) -> bool:
        """Whether its effective budget was not met."""
        return self.of_effective and misses(self.effective_share, self.target_share)


BUDGET_COLUMNS = columns_of(BudgetRow)  # of budgets.csv


def budget_row(part: Part, primary: Part, intervening: Part, js: Part | None) -> BudgetRow:
    """The figures of a part against both endpoints, and against the JS rule if it is a control."""
    figures, (problems, samples) = part.figures(), part.graded.correct.shape
    bottom, top = (avg_at_k(end.graded.correct) for end in (primary, intervening))
    from_js = compare(js.graded, part.graded) if js is not None else None
    assert part.threshold is not None
    return BudgetRow(
        direction=part.direction,
        rule=part.rule,
        level=part.level,
        target_share=part.target,
        threshold=RULES[part.rule].setting(part.threshold),
        problems=problems,
        responses=problems * samples,
        switches=part.switches,
        share=part.share,
        effective_switches=part.effective,
        effective_share=part.effective / part.tokens,
        switches_per_response=part.switches / (problems * samples),
        effective_per_response=part.effective / (problems * samples),
        recovered_share=None if top == bottom else (figures["accuracy"] - bottom) / (top - bottom),
        difference_js=None if from_js is None else from_js.difference,
        p_js=None if from_js is None else from_js.p_value,
        **figures,
        **_against("primary", primary, part),
        **_against("intervening", intervening, part),
    )


def _against(name: str, end: Part, part: Part) -> dict[str, Any]:
    found, difference = compare(end.graded, part.graded), f"difference_{name}"
    ends = {f"{difference}_low": found.low, f"{difference}_high": found.high}
    return {difference: found.difference, **ends, f"p_{name}": found.p_value}


def budget_rows(parts: Sequence[Part]) -> list[BudgetRow]:
    """One row for each part that is not an endpoint, p-values corrected for having made all these tests.

    Both endpoints must be among the parts.
    """
    ends = {part.rule: part for part in parts if part.direction == "endpoint"}
    js_parts = {(p.direction, p.level): p for p in parts if p.rule == "js"}
    rows = []
    for part in parts:
        if part.direction != "endpoint":
            primary, other = DIRECTIONS[part.direction]
            js = None if part.rule == "js" else js_parts.get((part.direction, part.level))
            rows.append(budget_row(part, ends[primary], ends[other], js))
    tests = [(k, name) for k, row in enumerate(rows) for name in TESTS if getattr(row, name) is not None]
    adjusted = holm([getattr(rows[k], name) for k, name in tests])
    for (k, name), p in zip(tests, adjusted, strict=True):
        corrected: dict[str, Any] = {f"{name}_holm": p}
        rows[k] = replace(rows[k], **corrected)
    return rows
