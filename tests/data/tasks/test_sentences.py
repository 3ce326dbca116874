"""The sentences with two given words: the same everywhere, disjoint, and graded as they ask."""

from __future__ import annotations

import random

import pytest

from rlvr.config import SourceConfig
from rlvr.data.sources import load_problems
from rlvr.data.tasks.generated import worked_answer
from rlvr.data.tasks.sentences import SENTENCES, SENTENCES_HELD_OUT, SIZES, sentences
from rlvr.reward.verifiers.instruction import instruction


@pytest.mark.parametrize(("name", "size"), [(SENTENCES, 200), (SENTENCES_HELD_OUT, 60)])
def test_the_sets_have_their_sizes_and_are_read_by_name(name, size):
    problems = load_problems(SourceConfig(name=name)).problems
    assert len({p.id for p in problems}) == len(problems) == size
    assert [p.question for p in load_problems(SourceConfig(name=name, limit=3)).problems] == [
        p.question for p in sentences(name)[:3]
    ]


def test_the_prompts_stay_what_they_were():
    first, held = sentences("sentences")[0], sentences("sentences_heldout")[0]
    assert first.question == "Write a sentence with the words picture and narrow in at most 12 words."
    assert held.question == "Write a sentence with the words island and warm in at most 12 words."


def test_no_pair_of_words_is_in_both():
    pairs = [{(p.columns["noun"], p.columns["quality"]) for p in sentences(name)} for name in SIZES]
    assert not pairs[0] & pairs[1]
    assert [len(own) for own in pairs] == [SIZES[SENTENCES], SIZES[SENTENCES_HELD_OUT]]


def test_given_answers_keep_to_what_is_asked():
    rng = random.Random(1)
    for name in SIZES:
        for problem in sentences(name):
            assert instruction(problem.example, problem.answer).outcome == "correct"
    for problem in sentences(SENTENCES):
        assert instruction(problem.example, worked_answer(problem, rng)).outcome == "correct"


def test_each_thing_that_is_asked_counts():
    [problem] = [p for p in sentences(SENTENCES) if "at most 9 words" in p.question][:1]
    noun, quality = problem.columns["noun"], problem.columns["quality"]
    for response, right in (
        (f"A {quality} {noun} stood there.", True),
        (f"The {noun.upper()} was {quality}.", True),
        (f"A {noun} stood there.", False),
        (f"A {quality}ish {noun} stood there.", False),
        (f"A {quality} {noun} stood there. It rained.", False),
        (f"A {quality} {noun} stood there all day and all night long too.", False),
        ("", False),
    ):
        assert (instruction(problem.example, response).outcome == "correct") == right, response
