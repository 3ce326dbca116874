"""The problems of the built-in task and the answers written for them."""

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.data.tasks.arithmetic import (
    OPERAND_COUNTS,
    ArithmeticStyle,
    boxed_answer,
    evaluate,
    expression_of,
    held_out,
    is_held_out,
    is_step_by_step,
    mixed_answer,
    quick_answer,
    step_by_step,
    train_problem,
)
from rlvr.types import Problem

seeds = st.integers(min_value=0, max_value=2**32)
indices = st.integers(min_value=0, max_value=10**6)


@given(seeds, indices)
def test_problem_is_well_formed_and_its_answer_is_right(seed, index):
    problem = train_problem(seed, index)
    expression = expression_of(problem)
    operands = re.split("[+-]", expression)
    assert len(operands) in OPERAND_COUNTS
    assert all(1 <= int(operand) <= 9 for operand in operands)
    # The expression holds digits, + and - only, so Python's own evaluation is a safe and independent judge.
    assert re.fullmatch(r"[0-9+-]+", expression)
    assert int(problem.answer) == eval(expression)


@given(seeds, indices)
def test_running_value_never_falls_below_zero(seed, index):
    terms = re.findall(r"[+-]?\d", expression_of(train_problem(seed, index)))
    assert all(sum(map(int, terms[: i + 1])) >= 0 for i in range(len(terms)))


def test_training_problem_is_a_function_of_seed_and_index():
    stream = [train_problem(5, index) for index in range(40)]
    assert stream[17:] == [train_problem(5, index) for index in range(17, 40)]
    assert stream != [train_problem(6, index) for index in range(40)]
    assert len({problem.id for problem in stream}) == 40


def test_the_stream_of_problems_stays_what_it_was():
    assert [train_problem(0, index).question for index in range(3)] == ["7+8+9=?", "6+7-9=?", "4+3-3+8=?"]
    assert [problem.question for problem in held_out(3)] == ["4+8-9-2+5=?", "6-6+9=?", "2+3-4+6=?"]


@pytest.mark.slow
def test_held_out_problems_are_fixed_distinct_and_never_trained_on():
    problems = held_out(200)
    assert problems[:50] == held_out(50)
    questions = {problem.question for problem in problems}
    assert len(questions) == 200
    trained = {train_problem(0, index).question for index in range(20_000)}
    assert not questions & trained
    assert all(is_held_out(expression_of(problem)) for problem in problems)
    assert all(int(problem.answer) == evaluate(expression_of(problem)) for problem in problems)


@given(seeds, indices)
def test_step_by_step_is_correct_by_default(seed, index):
    problem = train_problem(seed, index)
    text = step_by_step(problem, random.Random(index))
    assert is_step_by_step(text)
    assert boxed_answer(text) == problem.answer
    steps = re.findall(r"(\d+[+-]\d+)=(\d+)", text)
    assert len(steps) == len(re.findall("[+-]", problem.question))
    assert all(evaluate(left) == int(right) for left, right in steps)


@given(seeds, indices)
def test_a_certain_slip_makes_every_step_wrong(seed, index):
    problem = train_problem(seed, index)
    text = step_by_step(problem, random.Random(index), slip=1.0)
    assert all(evaluate(left) != int(right) for left, right in re.findall(r"(\d+[+-]\d+)=(\d+)", text))
    assert boxed_answer(text) != problem.answer
    assert "--" not in text
    assert "=-" not in text


def test_flaws_of_a_worked_answer():
    problem = Problem(id="p", question="7+3-5=?", answer="5", source="arithmetic")
    assert step_by_step(problem, random.Random(0)) == r"first 7+3=10 then 10-5=5 so \boxed{5}"
    assert step_by_step(problem, random.Random(0), no_box=1.0) == "first 7+3=10 then 10-5=5 so 5"
    early = step_by_step(problem, random.Random(0), stop_early=1.0)
    assert early.startswith(r"first 7+3=10 so \boxed{")
    assert boxed_answer(early) != "5"


def test_quick_answer_is_right_as_often_as_asked():
    problem = train_problem(0, 0)
    assert boxed_answer(quick_answer(problem, random.Random(0), right=1.0)) == problem.answer
    assert all(
        boxed_answer(quick_answer(problem, random.Random(i), right=0.0)) != problem.answer for i in range(200)
    )


def test_mixture_has_the_shares_that_its_style_states():
    style = ArithmeticStyle()
    rng = random.Random(0)
    answers = [mixed_answer(train_problem(1, index), rng, style) for index in range(4000)]
    worked = [answer for answer in answers if is_step_by_step(answer)]
    # Three standard errors of a share measured on 4000 (or about 1500) answers.
    assert len(worked) / 4000 == pytest.approx(style.step_by_step, abs=0.025)
    assert sum(boxed_answer(answer) is None for answer in worked) / len(worked) == pytest.approx(
        style.no_box, abs=0.025
    )


@pytest.mark.parametrize("text", ["", "7+", "7*3", "-7", "7+3=?", "__import__('os')"])
def test_evaluate_refuses_anything_else(text):
    with pytest.raises(ValueError, match="not an expression"):
        evaluate(text)


def test_expression_of_names_the_problem_that_is_not_of_this_task():
    with pytest.raises(ValueError, match="problem p7"):
        expression_of(Problem(id="p7", question="What is 7 plus 3?", answer="10", source="other"))


def test_boxed_answer_takes_the_last_box():
    assert boxed_answer(r"so \boxed{4} so \boxed{12}") == "12"
    assert boxed_answer("so 12") is None


def test_mistakes_are_as_large_as_they_are_said_to_be():
    """A guess is off by one to six and never below zero, a slip is too large by one or two."""
    for answer in (2, 9):
        problem = Problem("p", f"{answer - 1}+1=?", str(answer), "arithmetic")
        guesses = {int(boxed_answer(quick_answer(problem, random.Random(i), right=0.0))) for i in range(300)}
        assert guesses == set(range(max(0, answer - 6), answer + 7)) - {answer}
        slips = {int(boxed_answer(step_by_step(problem, random.Random(i), slip=1.0))) for i in range(50)}
        assert slips == {answer + 1, answer + 2}
