"""What cross-sampling hands on and leaves behind: thresholds found, finished parts, and the rows of budgets.csv."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rlvr.analysis.tables import columns_of
from rlvr.stats.accuracy import EvalResult


@dataclass(frozen=True, slots=True)
class Calibration:
    """A threshold and what the pilot made of it."""

    target: float  # share of tokens
    threshold: float
    share: float  # of the pilot's tokens that were switched
    tokens: int  # of the pilot
    rounds: int  # pilots written with thresholds of this target


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


BUDGET_COLUMNS = columns_of(BudgetRow)  # of budgets.csv
