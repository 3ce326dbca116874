"""Two cleaned answers compared by math-verify, where no rule of ours overrules it.

What a reading is worth is looked at before math-verify simplifies it, which may take for ever.
"""

import re
from functools import lru_cache
from typing import Any

from rlvr.reward.rules.letters import explicit_product, primes_differ
from rlvr.reward.rules.notation import for_algebra
from rlvr.reward.rules.numeric import (
    derivatives_differ,
    is_list_against_scalar,
    numbers_apart,
    roots_equal,
    with_imaginary_unit,
)
from rlvr.reward.rules.percents import split_percent
from rlvr.reward.rules.sizes import takes_too_long
from rlvr.reward.rules.values import left_open, same_by_value, too_large, worked_out
from rlvr.reward.verdict import Outcome

_DIVISORS = re.compile(r"\\(?:operatorname\s*\{\s*)?(?:gcd|lcm)(?![A-Za-z])\s*\}?")


# A group's samples share the gold answer and often the answer too.
@lru_cache(maxsize=1024)
def compare_with_math_verify(gold: str, answer: str) -> tuple[Outcome, str]:
    """What two cleaned answers are to one another, and why they are not equal."""
    if primes_differ(gold, answer):
        return Outcome.WRONG, "other primes than the gold answer's"
    gold_parsed, answer_parsed = parse_gold(explicit_product(gold)), _parse(explicit_product(answer))
    if not answer_parsed:
        return Outcome.WRONG, "math-verify read nothing in the answer"
    if is_list_against_scalar(gold_parsed, answer_parsed, answer):
        return Outcome.WRONG, "several values where one is expected"
    raised = ""
    for gold_value in gold_parsed:
        for answer_value in answer_parsed:
            try:
                if _values_equal(gold_value, answer_value):
                    return Outcome.CORRECT, ""
            except (MemoryError, RecursionError):
                raise
            except Exception as error:  # the answer is untrusted and sympy raises at will on nonsense
                raised = f"comparison raised {type(error).__name__}"
    return Outcome.WRONG, raised


def _values_equal(gold: Any, answer: Any) -> bool:
    """math-verify's verdict on two values, where our own rules do not overrule it."""
    # Imported here so that a process that only sends answers to workers never loads sympy.
    from math_verify import verify
    from sympy import Expr, FiniteSet, Set
    from sympy.core.relational import Relational
    from sympy.logic.boolalg import And

    if not left_open(gold) and left_open(answer):
        return False  # the question given back
    for one, other in ((gold, answer), (answer, gold)):
        if isinstance(one, Expr) and isinstance(other, Set) and not _is_one(other):
            return False  # a value is no interval, and not several values
    if numbers_apart(gold, answer):
        return False
    same = same_by_value(gold, answer)
    if same is not None:
        return same
    # Deadlines belong to the pool: math-verify's own use SIGALRM, which fails off the main thread.
    limits = {"timeout_seconds": None, "raise_on_error": True}
    if verify(gold, answer, **limits):
        return not derivatives_differ(gold, answer)
    # math-verify lets an interval answer an inequality, but not the other way round.
    if isinstance(gold, Set) and not isinstance(gold, FiniteSet) and isinstance(answer, Relational | And):
        return bool(verify(answer, gold, **limits))
    return roots_equal(gold, answer)


def _is_one(values: Any) -> bool:
    """Whether a set has one member, as far as can be told."""
    from sympy import FiniteSet

    return isinstance(values, FiniteSet) and (
        len(values) == 1 or not all(member.is_number for member in values)
    )


@lru_cache(maxsize=256)
def parse_gold(gold: str) -> list[Any]:
    """math-verify's reading of a cleaned gold answer, kept for the answers that are compared with it."""
    return _parse(gold)


def _parse(answer: str) -> list[Any]:
    """math-verify's reading of a cleaned answer: a sympy value where it parses, and always the text."""
    if takes_too_long(answer):
        return [answer]
    body, is_percent = split_percent(for_algebra(answer))
    wrapped = rf"${body}$\%" if is_percent else rf"\boxed{{{body}}}"
    if _DIVISORS.search(wrapped) and not all(map(_usable, _read(_DIVISORS.sub(r"\\max ", wrapped)))):
        return []  # `\gcd` is worked out as it is read, `\max` in its place is not
    return [value for reading in _read(wrapped) for value in _usable(reading)]


def _usable(value: Any) -> list[Any]:
    """A reading with what can be worked out worked out; nothing of one that is too large or makes no sense."""
    try:
        return [] if too_large(value) else [with_imaginary_unit(worked_out(value))]
    except (MemoryError, RecursionError):
        raise
    except (
        Exception
    ):  # the answer is untrusted and sympy raises at will on nonsense, as the factorial of a matrix
        return []


def _read(wrapped: str) -> list[Any]:
    parse, config = _latex_parser()
    found: list[Any] = parse(wrapped, config, parsing_timeout=None)
    return found


@lru_cache(maxsize=1)
def _latex_parser() -> tuple[Any, Any]:
    import logging

    from math_verify import LatexExtractionConfig, parse

    # Its one warning says that deadlines are ours; in a worker it would be printed once per process.
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    return parse, (LatexExtractionConfig(boxed_match_priority=0),)
