"""The built-in sums: right, the same everywhere, disjoint; and the verifier that goes with them."""

from __future__ import annotations

import random
import re

import pytest

from rlvr.config import SourceConfig
from rlvr.data.smollm2 import output_of
from rlvr.data.sources import load_problems
from rlvr.data.tasks.generated import worked_answer
from rlvr.data.tasks.sums import SIZES, SUMS, SUMS_HELD_OUT, sums
from rlvr.errors import ConfigError
from rlvr.reward.verifiers.last_number import last_number


@pytest.mark.parametrize("name", SIZES)
def test_answers_are_right_and_ids_unique(name):
    problems = load_problems(SourceConfig(name=name)).problems
    assert len({p.id for p in problems}) == len(problems) == SIZES[name]
    for problem in problems:
        a, b = (int(n) for n in re.findall(r"\d+", problem.question))
        assert int(problem.answer) == (a - b if " - " in problem.question else a + b)
    assert [p.question for p in load_problems(SourceConfig(name=name, limit=3)).problems] == [
        p.question for p in sums(name)[:3]
    ]


def test_the_questions_stay_what_they_were():
    assert [problem.question for problem in sums("sums")[:2]] == ["What is 19 + 7?", "What is 17 + 8?"]
    assert sums("sums_heldout")[0].question == "What is 16 + 17?"


def test_no_question_of_the_evaluation_is_trained_on():
    assert not {p.question for p in sums(SUMS)} & {p.question for p in sums(SUMS_HELD_OUT)}


def test_worked_answers_are_right_and_add_up():
    rng = random.Random(1)
    written = {problem.question: (worked_answer(problem, rng), problem) for problem in sums(SUMS)}
    assert all(last_number(problem.answer, text) for text, problem in written.values())
    equations = [
        found for text, _ in written.values() for found in re.findall(r"(\d+) ([+-]) (\d+) = (\d+)", text)
    ]
    assert len(equations) > 100
    for a, sign, b, result in equations:
        assert int(result) == (int(a) + int(b) if sign == "+" else int(a) - int(b))


@pytest.mark.parametrize(
    ("gold", "response", "right"),
    [
        ("16", "Tom has 10 + 6 = 16 apples now.", True),
        ("16", "16", True),
        ("16", "It is 16. No, 17.", False),
        ("1600", "The answer is 1,600.", True),
        ("-3", "It is −3", True),
        ("16", "sixteen", False),
        ("x", "x", False),
        ("16", "", False),
        ("0.5", "It is .5", True),
        ("5", "It is .5", False),
        ("-0.5", "It is -.50", True),
        ("5", "It is done.5", True),
        ("5", "10-5", True),
        ("-5", "10-5", False),
        ("-5", "f(2)-5", False),
        ("-5", "10 and -5", True),
        ("123456789012345678", "123456789012345679", False),
        ("123456789012345678", "123456789012345678.0", True),
        ("1" * 5000, "1" * 4999 + "2", False),
        ("x", "1" * 5000, False),
        ("snan", "nan 1", False),
        ("1e3", "1000", True),
        ("$5", "$5", True),
        ("5%", "5 %", True),
        ("2 + 3 is\n#### 5", "5", True),
        (r"so \boxed{-5}", "-5", True),
        ("1/2", "2", False),
        (r"\sqrt{2}", "2", False),
    ],
)
def test_the_last_number_counts(gold, response, right):
    assert last_number(gold, response) == right


@pytest.mark.parametrize("arguments", [[], ["output="], ["a", "output=b"], ["/tmp/x"]])
def test_the_model_maker_wants_one_folder(arguments):
    with pytest.raises(ConfigError, match="expected one argument, output=FOLDER"):
        output_of(arguments)


def test_the_model_maker_takes_the_folder(tmp_path):
    assert output_of([f"output={tmp_path}"]) == tmp_path
