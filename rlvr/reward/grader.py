"""The one grader of training and evaluation: extract, decide the plain cases, ask math-verify for the rest.

`grade` runs in the calling process and has no deadline of its own: a hostile answer can hold it for ever.
Grade model output through `rlvr.reward.pool.GraderPool`, which kills the worker instead.
"""

import time
from functools import lru_cache
from importlib.metadata import version
from typing import Any

from rlvr.reward.answer import (
    clean,
    decide_exactly,
    integer_literal,
    is_unevaluated,
    split_percent,
    units_differ,
)
from rlvr.reward.extract import extract_answer, find_boxes, policy_named
from rlvr.reward.verdict import Outcome, Verdict

RULES_VERSION = "1"  # raise it with every change that can change a verdict
GRADER_VERSION = f"rlvr-{RULES_VERSION}+math-verify-{version('math-verify')}"
MAX_ANSWER_CHARS = 10_000  # a longer answer is wrong unseen: no gold answer comes near it
MAX_RECORDED_CHARS = 500


def grade(gold: str, response: str, *, policy: str) -> Verdict:
    """Grade one response against a gold answer; the verdict's sample id is empty.

    The gold answer may be bare, boxed, or the end of a solution after "####". Raises ConfigError for an
    unknown policy and MemoryError or RecursionError where math-verify lets them out.
    """
    started = time.perf_counter()
    decided = grade_without_algebra(gold, response, policy=policy)
    if decided is not None:
        return decided
    gold_answer = gold_text(gold)
    answer = clean(extract_answer(response, policy_named(policy)).content or "")
    outcome, detail = _compare_with_math_verify(gold_answer, answer)
    return _verdict(outcome, answer, gold_answer, started, detail)


def grade_without_algebra(gold: str, response: str, *, policy: str) -> Verdict | None:
    """The verdict where text and integers settle it, in time linear in the response, else None."""
    started = time.perf_counter()
    rules = policy_named(policy)
    gold_answer = gold_text(gold)
    if not gold_answer:
        return _verdict(Outcome.FAILED, None, None, started, "the gold answer is empty")
    found = extract_answer(response, rules)
    if found.content is None:
        return _verdict(Outcome.NO_ANSWER, None, gold_answer, started, found.reason)
    if len(found.content) > MAX_ANSWER_CHARS:
        detail = (
            f"the answer has {len(found.content)} characters: more than {MAX_ANSWER_CHARS} are not parsed"
        )
        return _verdict(Outcome.WRONG, found.content, gold_answer, started, detail)
    answer = clean(found.content)
    if not answer:
        return _verdict(Outcome.NO_ANSWER, None, gold_answer, started, "the answer is nothing but markup")
    if rules.strict_format and integer_literal(gold_answer) is not None and is_unevaluated(answer):
        return _verdict(Outcome.WRONG, answer, gold_answer, started, "arithmetic where a number is expected")
    same = decide_exactly(gold_answer, answer)
    if same is not None:
        return _verdict(Outcome.CORRECT if same else Outcome.WRONG, answer, gold_answer, started)
    if units_differ(gold_answer, answer):
        return _verdict(Outcome.WRONG, answer, gold_answer, started, "the units differ")
    return None


def warm_up() -> None:
    """Import math-verify and take its slow first parse, so that the first sample does not pay for it."""
    for gold, answer in (
        (r"\frac{1}{2}", "0.5"),
        ("(1,2)", "x^2+1"),
        (r"\{1,2\}", "x=3"),
        ("y=2x", r"\sqrt{4}"),
    ):
        _compare_with_math_verify(gold, answer)


@lru_cache(maxsize=1024)
def gold_text(gold: str) -> str:
    """The cleaned gold answer of a bare answer, a box, or a solution that ends in "#### answer"."""
    boxes = find_boxes(gold)
    return clean(boxes[-1].content if boxes else gold.rsplit("####", 1)[-1])


def _verdict(
    outcome: Outcome, answer: str | None, gold: str | None, started: float, detail: str = ""
) -> Verdict:
    seconds = time.perf_counter() - started
    return Verdict("", outcome, answer and cut(answer), gold and cut(gold), seconds, detail)


def cut(text: str) -> str:
    """At most 500 characters of a text and an ellipsis: what a verdict records."""
    return text if len(text) <= MAX_RECORDED_CHARS else text[:MAX_RECORDED_CHARS] + "..."


# A group's samples share the gold answer and often the answer too.
@lru_cache(maxsize=1024)
def _compare_with_math_verify(gold: str, answer: str) -> tuple[Outcome, str]:
    # Imported here so that a process that only sends answers to workers never loads sympy.
    from math_verify import verify

    gold_parsed, answer_parsed = _parse_gold(gold), _parse(answer)
    if not answer_parsed:
        return Outcome.WRONG, "math-verify read nothing in the answer"
    if _is_list_against_scalar(gold_parsed, answer_parsed, answer):
        return Outcome.WRONG, "several values where one is expected"
    raised = ""
    for gold_value in gold_parsed:
        for answer_value in answer_parsed:
            # Deadlines belong to the pool: math-verify's own use SIGALRM, which fails off the main thread.
            try:
                if verify(gold_value, answer_value, timeout_seconds=None, raise_on_error=True):
                    return Outcome.CORRECT, ""
            except (MemoryError, RecursionError):
                raise
            except Exception as error:  # the answer is untrusted and sympy raises at will on nonsense
                raised = f"comparison raised {type(error).__name__}"
    return Outcome.WRONG, raised


@lru_cache(maxsize=256)
def _parse_gold(gold: str) -> list[Any]:
    return _parse(gold)


def _parse(answer: str) -> list[Any]:
    """math-verify's reading of a cleaned answer: a sympy value where it parses, and always the text."""
    body, is_percent = split_percent(answer)
    wrapped = rf"${body}$\%" if is_percent else rf"\boxed{{{body}}}"
    parse, config = _latex_parser()
    return parse(wrapped, config, parsing_timeout=None)


@lru_cache(maxsize=1)
def _latex_parser() -> tuple[Any, Any]:
    import logging

    from math_verify import LatexExtractionConfig, parse

    # Its one warning says that deadlines are ours; in a worker it would be printed once per process.
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    return parse, (LatexExtractionConfig(boxed_match_priority=0),)


def _is_list_against_scalar(gold_parsed: list[Any], answer_parsed: list[Any], answer: str) -> bool:
    """math-verify collapses `3,3` to the set {3} and calls it equal to 3."""
    from sympy import FiniteSet, Set, Tuple

    gold_is_collection = any(isinstance(value, (Set, Tuple)) for value in gold_parsed)
    answer_is_list = any(isinstance(value, FiniteSet) for value in answer_parsed)
    return answer_is_list and not gold_is_collection and "," in answer
