"""The built-in tasks whose problems are made, not read.

`GENERATED`: an endless training stream and a fixed held-out set of each. `FINITE`: as many problems as there are.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from rlvr.data.tasks import arithmetic, instructions, sentences, sums
from rlvr.types import Problem

HELD_OUT = "_heldout"  # after the name of a task: its held-out set
HELD_OUT_SIZE = 200  # problems of a held-out set when the configuration sets no limit


@dataclass(frozen=True, slots=True)
class GeneratedTask:
    """One task."""

    train: Callable[[int, int], Problem]  # (seed, index) -> training problem, a pure function
    held_out: Callable[[int], list[Problem]]  # the first so many of the held-out set
    answer: Callable[
        [Problem, random.Random], str
    ]  # a right answer to one of its problems, as its base may write it
    verifier: str | None = (
        None  # what grades it where neither source nor run name one; None: as `reward` says
    )


GENERATED = {
    "arithmetic": GeneratedTask(arithmetic.train_problem, arithmetic.held_out, arithmetic.step_by_step),
    "instructions": GeneratedTask(
        instructions.train_problem, instructions.held_out, instructions.careful_answer, "instruction"
    ),
}
FINITE: dict[str, Callable[[], list[Problem]]] = {
    **{name: partial(sums.sums, name) for name in sums.SIZES},
    **{name: partial(sentences.sentences, name) for name in sentences.SIZES},
}
# (a problem of the source, random numbers) -> a right answer
ANSWERS: dict[str, Callable[[Problem, random.Random], str]] = {
    **{name: task.answer for name, task in GENERATED.items()},
    sums.SUMS: sums.worked_sum,
    sentences.SENTENCES: sentences.kept_sentence,
}
GENERATED_SETS = tuple(f"{name}{suffix}" for name in GENERATED for suffix in ("", HELD_OUT))


def worked_answer(problem: Problem, rng: random.Random) -> str:
    """A right answer to a problem of a built-in task: a sum worked out, a sentence that keeps to its instructions.

    Raises ValueError if the problem is of no such task.
    """
    return ANSWERS.get(problem.source, arithmetic.step_by_step)(problem, rng)


def task_of(name: str) -> GeneratedTask | None:
    """The task of a training stream or held-out set of this name."""
    return GENERATED.get(name.removesuffix(HELD_OUT))
