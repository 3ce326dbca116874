"""The exact comparison of plain answers, and its agreement with math-verify on integers."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from math_verify import parse, verify

from rlvr.reward.grader import grade
from rlvr.reward.rules.answer import clean, decide_exactly, integer_literal
from rlvr.reward.rules.percents import split_percent
from rlvr.reward.rules.quantities import units_differ


def _spellings(value: int):
    digits = str(abs(value))
    sign = "-" if value < 0 else ""
    forms = [
        f"{sign}{digits}",
        f"{sign}0{digits}",
        f"{sign}00{digits}",
        f" {sign}{digits} ",
        f"({sign}{digits})",
    ]
    if len(digits) > 3:
        forms += [f"{sign}{abs(value):,}", f"{sign}{abs(value):,}".replace(",", "{,}")]
    return st.sampled_from(forms)


INTEGERS = st.one_of(st.integers(-20, 20), st.integers(-(10**6), 10**6), st.integers(-(10**40), 10**40))
SPELLED = INTEGERS.flatmap(_spellings)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(SPELLED, SPELLED)
@example("073", "(073)")
@example("0", "-0")
@example("1,234", "1234")
@example("1,234", "234")
def test_integers_agree_with_math_verify(gold, answer):
    ours = decide_exactly(clean(gold), clean(answer))
    theirs = verify(
        parse(rf"\boxed{{{gold}}}", parsing_timeout=None),
        parse(rf"\boxed{{{answer}}}", parsing_timeout=None),
        timeout_seconds=None,
    )
    assert ours is theirs


@pytest.mark.slow
@settings(max_examples=75, deadline=None)
@given(INTEGERS.flatmap(lambda n: st.tuples(_spellings(n), _spellings(n))))
def test_two_spellings_of_one_integer_agree_with_math_verify(pair):
    test_integers_agree_with_math_verify.hypothesis.inner_test(*pair)
    assert grade(pair[0], rf"\boxed{{{pair[1]}}}", policy="last_box").correct


@given(st.text(max_size=200))
def test_cleaning_any_text_ends_and_is_stable(text):
    once = clean(text)
    assert clean(once) == once or len(clean(once)) < len(once)
    split_percent(once)
    integer_literal(once)
    units_differ(once, once)


@given(st.text(min_size=1, max_size=50))
def test_equal_text_is_decided_as_equal(text):
    cleaned = clean(text)
    if cleaned:
        assert decide_exactly(cleaned, cleaned) is True


def test_only_ascii_digits_are_integers():
    assert integer_literal("12") == "12"
    assert integer_literal("١٢") is None
    assert integer_literal("1,23") is None
    assert integer_literal("1 234") is None
    assert integer_literal("1" * 101) is None
    assert integer_literal("") is None
