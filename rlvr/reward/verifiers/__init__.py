"""Verifiers: their names, how one of your own is found and called, and what its answers mean.

A verifier is a function `verify(example, response)` of the whole row (`rlvr.reward.example.Example`), or `verify(gold,
response)` of the gold answer alone. It is of the first kind if its first parameter is called `example`, or is
annotated as `Example`. A parameter `policy` is given the name of the policy that the source names, and further ones
with defaults may be set by `verifier_options`.
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from rlvr.dotted import find_named, load_dotted, require_function
from rlvr.errors import ConfigError
from rlvr.reward.example import Example
from rlvr.reward.grader import cut, grade
from rlvr.reward.verdict import DECIDED, Outcome, Rules, Verdict

# Returns True, False, a score in [0, 1], or a Verdict.
Verifier = Callable[..., object]

MATH = "math"  # our rules and math-verify: what grades where nothing else is named
# Where each is: they load what grading alone needs.
VERIFIERS = {
    MATH: "rlvr.reward.grader:grade",
    "math_verify_default": "rlvr.reward.verifiers.reference:math_verify_default",
    "last_number": "rlvr.reward.verifiers.last_number:last_number",
    "choice": "rlvr.reward.verifiers.choice:choice",
    "exact": "rlvr.reward.verifiers.exact_text:exact",
    "normalized": "rlvr.reward.verifiers.exact_text:normalized",
    "regex": "rlvr.reward.verifiers.regex_match:regex",
    "json_schema": "rlvr.reward.verifiers.json_schema:json_schema",
    "instruction": "rlvr.reward.verifiers.instruction:instruction",
    "python_tests": "rlvr.reward.verifiers.python_tests:python_tests",
}


def is_math(rules: Rules) -> bool:
    """Whether answers are graded by our own grader."""
    return rules.verifier is None or rules.verifier == MATH


@dataclass(frozen=True, slots=True)
class LoadedVerifier:
    """A verifier with what it is called with."""

    verify: Verifier
    rules: Rules
    reads_row: bool  # its first argument is the whole row, not the gold answer

    def __call__(self, subject: Example | str, response: str) -> Verdict:
        """The verdict on a response; the subject is the row or its gold answer, as `reads_row` says."""
        gold = subject if isinstance(subject, str) else subject.answer
        return as_verdict(self.verify(subject, response), gold, self.rules.correct_from)


def load_verifier(rules: Rules) -> LoadedVerifier:
    """Import what grades by these rules, which name a policy: those of a source over the pool's own.

    Raises:
        ConfigError: unknown name, no function (example, response) or (gold, response), or options that it lacks.
    """
    if is_math(rules):
        _refuse_options(rules, grade, taken={"policy"})
        return LoadedVerifier(partial(grade, policy=str(rules.policy)), rules, False)
    name = str(rules.verifier)
    verify = build_verifier(name, "verifier")
    options = _refuse_options(rules, verify, taken=set())
    parameters = _parameters(verify)
    if "policy" in [p.name for p in parameters[2:]] and "policy" not in options:
        options["policy"] = str(rules.policy)
    return LoadedVerifier(partial(verify, **options), rules, _takes_row(verify))


def reads_row(name: str | None) -> bool:
    """Whether the verifier of that name is given the whole row, so that a row needs no gold answer.

    Raises:
        ConfigError: as `build_verifier` does.
    """
    return name not in (None, MATH) and _takes_row(build_verifier(str(name), "verifier"))


def _takes_row(verify: Verifier) -> bool:
    first = next(iter(_parameters(verify)), None)
    return first is not None and (
        first.name == "example"
        or first.annotation is Example
        or str(first.annotation).strip("'\"").rpartition(".")[2] == Example.__name__
    )


def build_verifier(name: str, key: str = "reward.verifier") -> Verifier:
    """The verifier called `name` (built in, or a dotted path).

    Raises:
        ConfigError: unknown name, or no function (example, response) or (gold, response).
    """
    verify: Verifier | str = find_named(name, VERIFIERS, key)
    if isinstance(verify, str):
        verify = load_dotted(verify, key)
    required = [p for p in _parameters(verify)[2:] if p.name == "policy" and p.default is p.empty]
    checked = partial(verify, policy="") if required and callable(verify) else verify
    require_function(checked, name, key, ("example or gold", "response"))
    assert callable(verify)
    return verify


def _parameters(verify: object) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(verify).parameters.values()) if callable(verify) else []
    except ValueError:  # some built-in functions have no signature to look at
        return []


def _refuse_options(rules: Rules, verify: Verifier, taken: set[str]) -> dict[str, Any]:
    """The options of the rules, where the verifier has them all."""
    options: dict[str, Any] = json.loads(rules.options) if rules.options else {}
    parameters = _parameters(verify)[2:]
    known = [p.name for p in parameters if p.kind is not p.VAR_KEYWORD and p.name not in taken]
    unknown = sorted(options.keys() - set(known))
    if unknown and not any(p.kind is p.VAR_KEYWORD for p in parameters):
        raise ConfigError(
            f"verifier {rules.verifier or MATH}: it has no option {', '.join(unknown)}; "
            + (f"use {', '.join(known)}" if known else "it takes none")
        )
    return options


def as_verdict(value: Any, gold: str, correct_from: float | None) -> Verdict:
    """Read a verifier's result: a Verdict (or its look-alike), a bool, or a score in [0, 1].

    A score of at least `correct_from` is correct; None: 0.5, or what a Verdict with a score says itself. A score
    outside [0, 1], NaN and any other type raise TypeError.
    """
    if not hasattr(value, "outcome"):
        score = _score(value)
        right = score >= (0.5 if correct_from is None else correct_from)
        partial_credit = None if score in (0.0, 1.0) else score
        detail = "" if partial_credit is None else f"score {score:g}"
        outcome = Outcome.CORRECT if right else Outcome.WRONG
        return Verdict("", outcome, None, _text(gold), 0.0, detail, partial_credit)
    given = getattr(value, "score", None)
    verdict = Verdict(
        "",
        Outcome(value.outcome),
        _text(getattr(value, "extracted", None)),
        _text(getattr(value, "gold", gold)),
        0.0,
        str(getattr(value, "detail", "")),
        None if given is None else _score(given),
    )
    if verdict.score is None or correct_from is None or verdict.outcome not in DECIDED:
        return verdict
    right = verdict.score >= correct_from
    return replace(verdict, outcome=Outcome.CORRECT if right else Outcome.WRONG)


def _score(value: Any) -> float:
    try:
        score = math.nan if isinstance(value, str | bytes) else float(value)
    except (TypeError, ValueError):
        score = math.nan
    if not 0.0 <= score <= 1.0:
        raise TypeError(
            f"the verifier returned {value!r:.100}: expected a Verdict, a bool or a score in [0, 1]"
        )
    return score


def _text(value: object) -> str | None:
    return None if value is None else cut(str(value))
