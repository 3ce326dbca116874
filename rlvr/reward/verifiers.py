"""Verifiers instead of our grader: their names, how one of your own is found, and what its answers mean."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from rlvr.dotted import find_named, load_dotted, require_function
from rlvr.reward.grader import cut
from rlvr.reward.verdict import Outcome, Verdict

# (gold, response) -> True, False, a score in [0, 1], or a Verdict
Verifier = Callable[[str, str], object]

# Where each is: they load what grading alone needs.
VERIFIERS = {
    "math_verify_default": "rlvr.reward.reference:math_verify_default",
    "last_number": "rlvr.reward.last_number:last_number",
    "python_tests": "rlvr.reward.python_tests:verify",
}


def build_verifier(name: str) -> Verifier:
    """The verifier called `name` (built in, or a dotted path).

    Raises:
        ConfigError: unknown name, or no function (gold, response).
    """
    verify: Verifier | str = find_named(name, VERIFIERS, "reward.verifier")
    if isinstance(verify, str):
        verify = load_dotted(verify, "reward.verifier")
    require_function(verify, name, "reward.verifier", ("gold", "response"))
    assert callable(verify)
    return verify


def as_verdict(value: Any, gold: str) -> Verdict:
    """Read a verifier's result: a Verdict (or its look-alike), a bool, or a score in [0, 1].

    A score of at least 0.5 is correct and is kept in the detail; NaN and any other type raise TypeError.
    """
    if hasattr(value, "outcome"):
        extracted, kept_gold = getattr(value, "extracted", None), getattr(value, "gold", gold)
        return Verdict(
            "",
            Outcome(value.outcome),
            _text(extracted),
            _text(kept_gold),
            0.0,
            str(getattr(value, "detail", "")),
        )
    try:
        score = float(value)
    except (TypeError, ValueError):
        score = math.nan
    if not 0.0 <= score <= 1.0:
        raise TypeError(
            f"the verifier returned {value!r:.100}: expected a Verdict, a bool or a score in [0, 1]"
        )
    detail = "" if score in (0.0, 1.0) else f"score {score:g}"
    return Verdict("", Outcome.CORRECT if score >= 0.5 else Outcome.WRONG, None, _text(gold), 0.0, detail)


def _text(value: object) -> str | None:
    return None if value is None else cut(str(value))
