"""One sentence that keeps to what is asked of it: a task without numbers for the smallest pretrained chat models.

A prompt names two words that the sentence must have and a number of words that it must not exceed, all of which a
program can check (Zhou et al., IFEval, arXiv 2311.07911):

    Write a sentence with the words garden and yellow in at most 9 words.

200 prompts for training and 60 for evaluation, the same on every machine, with no pair of words in both.
"""

from __future__ import annotations

import random
from itertools import product
from typing import Any

from rlvr.types import Problem

SENTENCES, SENTENCES_HELD_OUT = "sentences", "sentences_heldout"
SIZES = {SENTENCES: 200, SENTENCES_HELD_OUT: 60}
SEED = 20261128
NOUNS = (
    "garden", "river", "teacher", "kitchen", "winter", "bicycle", "mountain", "letter", "market", "window", "doctor",
    "village", "bridge", "music", "horse", "island", "farmer", "library", "storm", "picture",
)  # fmt: skip
QUALITIES = (
    "yellow", "quiet", "heavy", "broken", "happy", "cold", "ancient", "narrow", "bright", "lonely", "gentle", "dusty",
    "wooden", "famous", "hungry", "empty", "sweet", "tired", "green", "warm",
)  # fmt: skip
WORDS = (9, 10, 11, 12, 13, 14)  # that a sentence may have
SUBJECTS = ("We saw", "There is", "I remember", "She painted")  # of the sentences that are given as answers


def sentences(name: str) -> list[Problem]:
    """The problems of `SENTENCES` or `SENTENCES_HELD_OUT`, in an order of their own."""
    generator = random.Random(SEED)
    pairs = list(product(NOUNS, QUALITIES))
    generator.shuffle(pairs)
    chosen = pairs[: SIZES[SENTENCES]] if name == SENTENCES else pairs[SIZES[SENTENCES] :][: SIZES[name]]
    return [_problem(name, index, *pair, generator.choice(WORDS)) for index, pair in enumerate(chosen)]


def _problem(name: str, index: int, noun: str, quality: str, words: int) -> Problem:
    constraints: list[dict[str, Any]] = [
        {"id": "keywords:existence", "keywords": [rf"\b{noun}\b", rf"\b{quality}\b"]},
        {"id": "length_constraints:number_words", "num_words": words, "relation": "at most"},
        {"id": "length_constraints:number_sentences", "num_sentences": 1, "relation": "exactly"},
    ]
    return Problem(
        id=f"{name}/{index}",
        question=f"Write a sentence with the words {noun} and {quality} in at most {words} words.",
        answer=f"There is a {quality} {noun}.",
        source=name,
        columns={"constraints": constraints, "noun": noun, "quality": quality},
    )


def kept_sentence(problem: Problem, rng: random.Random) -> str:
    """A sentence that keeps to what a problem of this task asks for."""
    asked = problem.columns
    return f"{rng.choice(SUBJECTS)} a {asked['quality']} {asked['noun']}."
