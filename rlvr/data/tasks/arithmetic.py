r"""The built-in task: short sums and differences, answered in ``\boxed{}``.

A problem has three to five operands 1..9 joined by + and -, and its running value never falls below zero:

    7+3-5=?

There are two ways to answer, and a base model trained on a mixture of both has a few decisions to make, each
visible as one token: guess or work step by step, go on or stop early, box the answer or forget the box.

    so \boxed{4}                                  a quick guess, mostly wrong
    first 7+3=10 then 10-5=5 so \boxed{5}         step by step, right unless a step slips

Every expression belongs either to training or to the held-out set, decided by a hash of its text, so the two
cannot overlap. Problem ``i`` of seed ``s`` is a pure function of both: a resumed run sees the same problems.
"""

import hashlib
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from rlvr.types import Problem

SOURCE = "arithmetic"
OPERAND_COUNTS = (3, 4, 5)
LARGEST_OPERAND = 9
HELD_OUT_ONE_IN = 16  # one problem in 16 is held out

_BOX = re.compile(r"\\boxed\{(-?\d+)\}")


@dataclass(frozen=True, slots=True)
class ArithmeticStyle:
    """How often an answer written for the base model's training goes wrong, and in which way.

    Every field is a probability. The defaults are the mixture that the shipped base model was trained on.
    """

    step_by_step: float = 0.40  # share of answers worked step by step; the others are quick guesses
    quick_right: float = 0.20  # a quick guess is right on purpose this often
    slip: float = 0.015  # a step's result is too large by one or two
    stop_early: float = 0.17  # after a step that is not the last, guess the rest
    no_box: float = 0.10  # a step-by-step answer ends without its box


def evaluate(expression: str) -> int:
    """Return the value of an expression of unsigned integers, + and -, such as ``7+3-5``.

    Raises ValueError if the text is anything else.
    """
    if not re.fullmatch(r"\d+([+-]\d+)*", expression):
        raise ValueError(
            f"not an expression of integers, + and -: {expression!r}; expected text such as '7+3-5'"
        )
    return sum(int(term) for term in re.findall(r"[+-]?\d+", expression))


def is_held_out(text: str) -> bool:
    """Say whether a problem belongs to the held-out set, by a hash of its text: for every built-in task alike."""
    return hashlib.sha256(text.encode()).digest()[0] % HELD_OUT_ONE_IN == 0


def sample_expression(rng: random.Random, operands: Sequence[int] = OPERAND_COUNTS) -> str:
    """Draw an expression of one of these lengths whose running value never falls below zero; it may be held out."""
    value = rng.randint(1, LARGEST_OPERAND)
    text = str(value)
    for _ in range(rng.choice(operands) - 1):
        operand = rng.randint(1, LARGEST_OPERAND)
        sign = rng.choice("+-") if operand <= value else "+"
        value += operand if sign == "+" else -operand
        text += f"{sign}{operand}"
    return text


def sample_problem(rng: random.Random, problem_id: str, held_out: bool = False) -> Problem:
    """Draw one problem from the training expressions, or from the held-out ones."""
    while is_held_out(expression := sample_expression(rng)) != held_out:
        pass
    return Problem(id=problem_id, question=f"{expression}=?", answer=str(evaluate(expression)), source=SOURCE)


def train_problem(seed: int, index: int) -> Problem:
    """Return training problem ``index`` of stream ``seed``, never a held-out expression."""
    return sample_problem(random.Random(f"train/{seed}/{index}"), f"{SOURCE}/train/{seed}/{index}")


def held_out(n: int = 200) -> list[Problem]:
    """Return the first ``n`` problems of the fixed held-out set; their expressions are distinct."""
    rng = random.Random("held out")
    problems: dict[str, Problem] = {}
    while len(problems) < n:
        problem = sample_problem(rng, f"{SOURCE}/held_out/{len(problems)}", held_out=True)
        problems.setdefault(problem.question, problem)
    return list(problems.values())


def expression_of(problem: Problem) -> str:
    """Return the expression that a problem of this task asks for.

    Raises ValueError if the question is not one of this task.
    """
    if not re.fullmatch(r"\d+([+-]\d+)*=\?", problem.question):
        raise ValueError(f"problem {problem.id}: {problem.question!r} is not of the form '7+3-5=?'")
    return problem.question.removesuffix("=?")


def quick_answer(problem: Problem, rng: random.Random, right: float) -> str:
    """Write a boxed guess without any work, right with probability ``right``, else off by up to six."""
    guess = int(problem.answer) if rng.random() < right else _off(int(problem.answer), rng)
    return rf"so \boxed{{{guess}}}"


def step_by_step(
    problem: Problem, rng: random.Random, slip: float = 0.0, stop_early: float = 0.0, no_box: float = 0.0
) -> str:
    """Write the worked answer, correct by default; the three probabilities are those of `ArithmeticStyle`.

    After a slip the work goes on from the wrong value, so the final answer is wrong as well.
    """
    first, *rest = re.findall(r"[+-]?\d+", expression_of(problem))
    value = int(first)
    steps = []
    for position, term in enumerate(rest):
        result = value + int(term)
        if rng.random() < slip:
            result += rng.choice((1, 2))  # upwards, so that no later subtraction falls below zero
        steps.append(f"{value}{term}={result}")
        value = result
        if position + 1 < len(rest) and rng.random() < stop_early:
            value = _off(int(problem.answer), rng)
            break
    ending = str(value) if rng.random() < no_box else rf"\boxed{{{value}}}"
    return "first " + " then ".join(steps) + f" so {ending}"


def mixed_answer(problem: Problem, rng: random.Random, style: ArithmeticStyle) -> str:
    """Write one answer of the base model's training mixture."""
    if rng.random() < style.step_by_step:
        return step_by_step(problem, rng, style.slip, style.stop_early, style.no_box)
    return quick_answer(problem, rng, style.quick_right)


def is_step_by_step(response: str) -> bool:
    """Say whether a response starts to work step by step."""
    return response.startswith("first ")


def boxed_answer(response: str) -> str | None:
    r"""Return the integer in the last ``\boxed{}`` of a response, or None if there is none."""
    boxes = _BOX.findall(response)
    return boxes[-1] if boxes else None


def _off(value: int, rng: random.Random) -> int:
    """Return a non-negative integer that differs from ``value`` by at least one and at most six."""
    return rng.choice([other for other in range(max(0, value - 6), value + 7) if other != value])
