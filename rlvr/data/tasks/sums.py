"""Sums and differences up to 40, in words: questions that the smallest pretrained chat models can learn to answer.

200 questions for training and 60 for evaluation, the same on every machine, with no pair of numbers in both.
"""

from __future__ import annotations

import random
import re

from rlvr.types import Problem

SUMS, SUMS_HELD_OUT = "sums", "sums_heldout"
SIZES = {SUMS: 200, SUMS_HELD_OUT: 60}
SMALLEST, LARGEST = 2, 20  # of the numbers that are added
SEED = 20240917


def sums(name: str) -> list[Problem]:
    """The problems of `SUMS` or `SUMS_HELD_OUT`, in an order of their own."""
    generator = random.Random(SEED)
    pairs = [(a, b) for a in range(SMALLEST, LARGEST + 1) for b in range(SMALLEST, LARGEST + 1)]
    generator.shuffle(pairs)
    chosen = pairs[: SIZES[SUMS]] if name == SUMS else pairs[SIZES[SUMS] :][: SIZES[name]]
    return [_problem(name, index, a, b, generator) for index, (a, b) in enumerate(chosen)]


def _problem(name: str, index: int, a: int, b: int, generator: random.Random) -> Problem:
    question, answer = generator.choice(
        (
            (f"What is {a} + {b}?", a + b),
            (f"Compute {a + b} - {b}.", a),
            (f"Tom has {a} apples and buys {b} more. How many apples does he have now?", a + b),
        )
    )
    return Problem(id=f"{name}/{index}", question=question, answer=str(answer), source=name)


def worked_sum(problem: Problem, rng: random.Random) -> str:
    """A right answer to a problem of this task, in one of three forms; `rng` chooses."""
    numbers = [int(number) for number in re.findall(r"\d+", problem.question)]
    sign = "-" if " - " in problem.question else "+"
    sum_of = f"{numbers[0]} {sign} {numbers[1]} = {problem.answer}"
    return rng.choice(
        (f"{sum_of}.", f"The answer is {problem.answer}.", f"{sum_of}. The answer is {problem.answer}.")
    )
