"""The second built-in task: its problems, the answers written for them, and its verifier."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import islice, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.config import Config, SourceConfig
from rlvr.data.problems import rules_of
from rlvr.data.sources import is_endless, load_problems
from rlvr.data.tasks.arithmetic import is_held_out
from rlvr.data.tasks.generated import GENERATED, GENERATED_SETS, worked_answer
from rlvr.data.tasks.instructions import (
    ADJECTIVES,
    ARTICLES,
    CHATTER,
    NOUNS,
    VERBS,
    WORDS,
    Instructions,
    InstructionStyle,
    careful_answer,
    held_out,
    instructions_of,
    mixed_answer,
    sentence,
    train_problem,
)
from rlvr.reward.verdict import Rules
from rlvr.reward.verifiers.instruction import instruction
from rlvr.types import Problem

seeds = st.integers(min_value=0, max_value=2**32)
indices = st.integers(min_value=0, max_value=10**6)


@given(seeds, indices)
def test_a_problem_is_well_formed_and_its_answer_keeps_to_it(seed: int, index: int) -> None:
    problem = train_problem(seed, index)
    asked = instructions_of(problem)
    assert asked.question == problem.question
    assert asked.words in WORDS
    assert (
        len([asked.start, asked.exclude, asked.end]) - [asked.start, asked.exclude, asked.end].count("")
        == len(problem.columns["constraints"]) - 1
        > 0
    )
    assert instruction(problem.example, problem.answer).correct
    assert not is_held_out(problem.question)


@given(seeds, indices, st.integers(0, 2**16), st.booleans())
def test_the_verifier_and_the_task_say_the_same_of_every_answer(seed, index, luck, own) -> None:
    problem, rng = train_problem(seed, index), random.Random(luck)
    answered = problem if own else train_problem(seed, index + 1)
    style = InstructionStyle(careful=0.8, miscount=0.3, forget=0.3, forbidden=0.3, go_on=0.3, chat_right=0.5)
    text = mixed_answer(instructions_of(answered), rng, style)
    assert instruction(problem.example, text).correct == instructions_of(problem).kept(text)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("the big fox sees a dog", True),
        ("the big fox sees a wet dog", False),  # seven words
        ("a big fox sees a dog", False),  # begins otherwise
        ("the red fox sees a dog", False),  # red
        ("the big dog sees a fox", False),  # ends in fox
        ("", False),
        ("then big fox sees a dog", False),  # another word
    ],
)
def test_instructions_by_hand(text: str, kept: bool) -> None:
    asked = Instructions(6, start="the", exclude="red", end="dog")
    assert asked.question == "write 6 words starting with the, without red, ending in dog:"
    row = Problem("p", asked.question, "-", "instructions", columns={"constraints": asked.constraints})
    assert instructions_of(row) == asked
    assert asked.kept(text) is kept
    assert instruction(row.example, text).correct is kept


def test_every_combination_of_instructions_can_be_kept() -> None:
    rng = random.Random(0)
    words = ("", *ADJECTIVES, *NOUNS, *VERBS)
    for count, start, exclude, end in product(WORDS, ("", *ARTICLES), words, ("", *NOUNS)):
        if exclude and exclude == end:
            continue
        asked = Instructions(count, start, exclude, end)
        assert asked.kept(sentence(asked, rng)), asked


def test_a_problem_is_a_function_of_seed_and_index() -> None:
    assert train_problem(5, 17) == train_problem(5, 17)
    assert len({train_problem(5, index).id for index in range(40)}) == 40
    assert [train_problem(0, i).question for i in range(3)] != [
        train_problem(1, i).question for i in range(3)
    ]


def test_the_stream_of_prompts_stays_what_it_was_and_has_every_kind() -> None:
    assert [problem.question for problem in held_out(2)] == [
        "write 7 words starting with a:",
        "write 8 words starting with the, without wet, ending in pig:",
    ]
    assert held_out(1)[0].answer == "a sad shy bee sees the duck"
    first = "write 8 words starting with the, without shy, ending in goat:"
    assert train_problem(1, 0).question == first
    drawn = [instructions_of(train_problem(0, index)) for index in range(200)]
    assert len({(one.start != "", one.exclude != "", one.end != "") for one in drawn}) == 7
    assert {one.words for one in drawn} == set(WORDS)


@pytest.mark.slow
def test_the_held_out_set_is_fixed_distinct_and_never_trained_on() -> None:
    problems = held_out(200)
    assert problems[:50] == held_out(50)
    questions = {problem.question for problem in problems}
    assert len(questions) == 200
    assert all(map(is_held_out, questions))
    assert not questions & {train_problem(0, index).question for index in range(5000)}


@pytest.mark.slow
def test_answers_go_wrong_as_often_as_their_style_says() -> None:
    def right(style: InstructionStyle) -> float:
        rng = random.Random(0)
        asked = [instructions_of(train_problem(0, index)) for index in range(1500)]
        return sum(one.kept(mixed_answer(one, rng, style)) for one in asked) / len(asked)

    careful = InstructionStyle(careful=1.0, miscount=0.0, forget=0.0, forbidden=0.0, go_on=0.0)
    assert right(careful) == 1.0
    assert right(replace(careful, miscount=1.0)) == 0.0
    assert right(replace(careful, go_on=1.0)) == 0.0
    assert 0.4 < right(replace(careful, forget=1.0)) < 0.6  # prompts that ask for no end, and luck
    assert 0.25 < right(InstructionStyle()) < 0.45
    chat = mixed_answer(instructions_of(train_problem(0, 0)), random.Random(0), InstructionStyle(careful=0.0))
    assert chat.split()[0] == CHATTER


def test_answers_to_learn_from_are_right_for_every_built_in_task() -> None:
    rng = random.Random(1)
    for problem in islice((train_problem(3, i) for i in range(50)), 50):
        assert instructions_of(problem).kept(worked_answer(problem, rng))
        assert instructions_of(problem).kept(careful_answer(problem, rng))
    sums = GENERATED["arithmetic"].train(3, 0)
    assert worked_answer(sums, rng).endswith(rf"\boxed{{{sums.answer}}}")
    with pytest.raises(ValueError, match="is not of the form 'write 6 words without"):
        careful_answer(sums, rng)


def test_the_names_of_the_built_in_tasks_are_sources() -> None:
    assert GENERATED_SETS == (
        "arithmetic",
        "arithmetic_heldout",
        "instructions",
        "instructions_heldout",
    )
    assert [is_endless(SourceConfig(name=name)) for name in GENERATED_SETS] == [True, False, True, False]
    loaded = load_problems(SourceConfig(name="instructions_heldout", limit=3))
    assert [replace(p, rules=Rules()) for p in loaded.problems] == held_out(3)
    assert {p.rules.verifier for p in loaded.problems} == {"instruction"}
    assert rules_of(SourceConfig(name="instructions", verifier="mine:verify")).verifier == "mine:verify"
    assert rules_of(SourceConfig(name="instructions", path="own.jsonl")).verifier is None
    assert rules_of(Config(recipe="test").data.train).verifier is None
