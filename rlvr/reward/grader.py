"""The one grader of training and evaluation: extract, decide the plain cases, ask math-verify for the rest.

`grade` runs in the calling process and has no deadline of its own: a hostile answer can hold it for ever.
Grade model output through `rlvr.reward.workers.pool.GraderPool`, which kills the worker instead.
"""

from collections.abc import Iterable
from functools import lru_cache
from importlib.metadata import version

from rlvr.reward.algebra import compare_with_math_verify, parse_gold
from rlvr.reward.extract import (
    bare_box,
    extract_answer,
    find_boxes,
    joined_boxes,
    policy_named,
    without_boxes,
)
from rlvr.reward.rules.answer import (
    clean,
    decide_exactly,
    integer_literal,
    is_plain,
    is_unevaluated,
)
from rlvr.reward.rules.counted import has_cases
from rlvr.reward.rules.letters import (
    explicit_product,
    has_no_letters,
    told_apart,
    with_argument_of,
)
from rlvr.reward.rules.named import (
    assignments,
    indexed_values,
    solved_for_another,
    split_list,
    unknown_first,
    value_of_equation,
    without_parentheses,
)
from rlvr.reward.rules.options import asked_option
from rlvr.reward.rules.parameters import with_parameter_of
from rlvr.reward.rules.phrases import DOUBTED
from rlvr.reward.rules.pieces import pieces
from rlvr.reward.rules.quantities import units_differ
from rlvr.reward.rules.repeats import repeats_differ, set_beside_tuple
from rlvr.reward.rules.shapes import depth, in_one_shape, is_plain_list
from rlvr.reward.rules.unions import union_of_intervals
from rlvr.reward.rules.written import same_as_written
from rlvr.reward.verdict import Outcome, Verdict
from rlvr.timing import Stopwatch

RULES_VERSION = "10"  # raise it with every change that can change a verdict
GRADER_VERSION = f"rlvr-{RULES_VERSION}+math-verify-{version('math-verify')}"
MAX_ANSWER_CHARS = 10_000  # a longer answer is wrong unseen: no gold answer comes near it
# Algebra reads no answer that is longer than this beside the gold one; its parser takes milliseconds a character.
LONGER_THAN_GOLD, MOST_UNPROMPTED_CHARS = 20, 300
MOST_DEPTH = 8  # of brackets in brackets: with each the parser takes several times as long
MAX_RECORDED_CHARS = 500


def grade(gold: str, response: str, *, policy: str) -> Verdict:
    """Grade one response against a gold answer; the verdict's sample id is empty.

    The gold answer may be bare, boxed, or the end of a solution after "####". Raises ConfigError for an
    unknown policy and MemoryError or RecursionError where math-verify lets them out.
    """
    watch = Stopwatch()
    decided = grade_without_algebra(gold, response, policy=policy)
    if decided is not None:
        return decided
    gold_answer = gold_text(gold)
    content = without_boxes(extract_answer(response, policy_named(policy)).content or "")
    answer = with_parameter_of(_gold_content(gold), content, gold_answer, clean(content))
    gold_answer, answer = asked_option(gold_answer, answer)
    outcome, detail = _compare(gold_answer, answer)
    return _verdict(outcome, answer, gold_answer, watch, detail)


def grade_without_algebra(gold: str, response: str, *, policy: str) -> Verdict | None:
    """The verdict where text and integers settle it, in time linear in the response, else None."""
    watch = Stopwatch()
    rules = policy_named(policy)
    gold_answer = gold_text(gold)
    if not gold_answer:
        return _verdict(Outcome.FAILED, None, None, watch, "the gold answer is empty")
    found = extract_answer(response, rules)
    if found.content is None:
        return _verdict(Outcome.NO_ANSWER, None, gold_answer, watch, found.reason)
    if len(found.content) > MAX_ANSWER_CHARS:
        detail = (
            f"the answer has {len(found.content)} characters: more than {MAX_ANSWER_CHARS} are not parsed"
        )
        return _verdict(Outcome.WRONG, found.content, gold_answer, watch, detail)
    content = without_boxes(found.content)
    answer = clean(content)
    if not answer:
        return _verdict(Outcome.NO_ANSWER, None, gold_answer, watch, "the answer is nothing but markup")
    if rules.strict_format and integer_literal(gold_answer) is not None and is_unevaluated(answer):
        return _verdict(Outcome.WRONG, answer, gold_answer, watch, "arithmetic where a number is expected")
    same = same_as_written(_gold_content(gold), content, gold_answer, answer)
    if same is None:
        gold_answer, answer = asked_option(gold_answer, answer)
        same = decide_exactly(gold_answer, answer)
    if same is not None:
        return _verdict(Outcome.CORRECT if same else Outcome.WRONG, answer, gold_answer, watch)
    if units_differ(gold_answer, answer):
        return _verdict(Outcome.WRONG, answer, gold_answer, watch, "the units differ")
    return None


def warm_up() -> None:
    """Import math-verify and take its slow first parse, so that the first sample does not pay for it."""
    for gold, answer in (
        (r"\frac{1}{2}", "0.5"),
        ("(1,2)", "x^2+1"),
        (r"\{1,2\}", "x=3"),
        ("y=2x", r"\sqrt{4}"),
        (r"\cos\frac{\pi}{7}+i\sin\frac{\pi}{7}", r"\sum_{k=1}^{3} k"),
    ):
        compare_with_math_verify(gold, answer)


@lru_cache(maxsize=1024)
def gold_text(gold: str) -> str:
    """The cleaned gold answer of a bare answer, a box, or a solution that ends in "#### answer"."""
    return clean(_gold_content(gold))


@lru_cache(maxsize=1024)
def _gold_content(gold: str) -> str:
    boxes = find_boxes(gold)
    if not boxes and "\\boxed" in gold and (bare := bare_box(gold)):
        return bare
    return joined_boxes(gold, boxes) if boxes else gold.rsplit("####", 1)[-1]


def _verdict(
    outcome: Outcome, answer: str | None, gold: str | None, watch: Stopwatch, detail: str = ""
) -> Verdict:
    seconds = watch.seconds
    return Verdict("", outcome, answer and cut(answer), gold and cut(gold), seconds, detail)


def cut(text: str) -> str:
    """At most 500 characters of a text and an ellipsis: what a verdict records."""
    return text if len(text) <= MAX_RECORDED_CHARS else text[:MAX_RECORDED_CHARS] + "..."


def read_gold(gold: str, response: str) -> Verdict:
    """Whether a gold answer can be read at all, not only be equal to itself: a verifier for files of problems.

    Correct where text rules or math-verify find a value in it; failed where only the same text would be right.
    """
    watch = Stopwatch()
    answer = gold_text(gold)
    if not answer:
        return _verdict(Outcome.FAILED, None, None, watch, "the gold answer is empty")
    if is_plain(answer) or any(not isinstance(value, str) for value in parse_gold(answer)):
        return _verdict(Outcome.CORRECT, answer, answer, watch)
    detail = "nothing is read in the gold answer: only an answer with the same text would be correct"
    return _verdict(Outcome.FAILED, answer, answer, watch, detail)


def _compare(gold: str, answer: str) -> tuple[Outcome, str]:
    """Compare two cleaned answers that need algebra: named unknowns by name, the rest by math-verify."""
    if len(answer) > LONGER_THAN_GOLD * len(gold) + MOST_UNPROMPTED_CHARS:
        return Outcome.WRONG, f"the answer has {len(answer)} characters, the gold answer {len(gold)}"
    if depth(answer) > max(MOST_DEPTH, depth(gold)):
        return Outcome.WRONG, f"brackets {depth(answer)} deep: more than {MOST_DEPTH} are not parsed"
    if DOUBTED.search(answer) and not DOUBTED.search(gold):
        return Outcome.WRONG, "the answer takes itself back, or gives a bound"
    gold, answer = in_one_shape(unknown_first(gold), unknown_first(answer))
    gold, answer = told_apart(gold, with_argument_of(gold, answer))
    golds, answers = pieces(gold), pieces(answer)
    if golds is not None and answers is not None:
        if golds.keys() != answers.keys():
            return Outcome.WRONG, "other conditions than the gold answer's"
        return _all_equal((value, answers[condition]) for condition, value in golds.items())
    if is_plain_list(gold) and union_of_intervals(answer) is not None:
        return Outcome.WRONG, "an interval where values are expected"
    if repeats_differ(gold, answer) or set_beside_tuple(gold, answer):
        return Outcome.WRONG, "other values, or not as often, or a set beside a tuple"
    if has_cases(answer) and not has_cases(gold) and "cases" not in gold:
        return Outcome.WRONG, "several cases where one is expected"
    named = assignments(gold)
    if named is not None and len(named) > 1:
        return _compare_named(named, answer)
    answer = indexed_values(answer) if named is not None else answer
    value = value_of_equation(gold)
    if value is not None and "=" not in answer:  # `x = 1, 2` against `1, 2`
        product = explicit_product(value, of_unknowns=True)  # the letter of `n = 3m` is no unit
        if product != value:
            return _compare_values(product, explicit_product(answer, of_unknowns=True))
        return _compare_values(value, answer)
    theirs = value_of_equation(answer)
    if (
        value is not None
        and theirs is not None
        and gold.partition("=")[0].strip() == answer.partition("=")[0].strip()
    ):
        return (Outcome.CORRECT, "") if value == theirs else compare_with_math_verify(value, theirs)
    if value is None and "=" not in gold and _says_another_thing(answer):
        return Outcome.WRONG, "the equation is not true, or solves for something else"
    found = compare_with_math_verify(gold, answer)
    if found[0] is not Outcome.CORRECT and theirs is not None and "=" not in gold:
        return _compare_values(gold, theirs)
    return found


def _says_another_thing(answer: str) -> bool:
    """Whether an answer is one false equation of numbers, as `13=12`, or gives a multiple or power of its unknown."""
    left, sign, right = answer.partition("=")
    if not sign or "=" in right or left.rstrip().endswith(("<", ">", "!")):
        return False
    if solved_for_another(left):
        return True
    return (
        has_no_letters(left)
        and compare_with_math_verify(left.strip(), right.strip())[0] is not Outcome.CORRECT
    )


def _compare_named(gold: dict[str, str], answer: str) -> tuple[Outcome, str]:
    """`p = 2, q = 3` against the same names in any order, or bare values in the gold's order."""
    named = assignments(answer)
    if named is None:
        values = split_list(without_parentheses(answer))
        if len(values) != len(gold) or "=" in answer:
            return Outcome.WRONG, f"{len(gold)} named values are expected"
        named = dict(zip(gold, values, strict=True))
    if named.keys() != gold.keys():
        return Outcome.WRONG, "other names than the gold answer's"
    return _all_equal((value, named[name]) for name, value in gold.items())


def _all_equal(pairs: Iterable[tuple[str, str]]) -> tuple[Outcome, str]:
    verdicts = (_compare_values(gold, answer) for gold, answer in pairs)
    return next((verdict for verdict in verdicts if verdict[0] is not Outcome.CORRECT), (Outcome.CORRECT, ""))


def _compare_values(gold: str, answer: str) -> tuple[Outcome, str]:
    same = decide_exactly(gold, answer)
    if same is not None:
        return (Outcome.CORRECT if same else Outcome.WRONG), ""
    return compare_with_math_verify(gold, answer)
