"""The grader on every kind of answer, and on the shared public problems."""

import itertools
import json
import random
import subprocess
import sys
import threading

import pytest

from rlvr.errors import ConfigError
from rlvr.reward.grader import GRADER_VERSION, grade
from rlvr.reward.verdict import Outcome
from tests.helpers.paths import SHARED_DATA


def boxed(gold: str, answer: str, policy: str = "last_box") -> Outcome:
    return grade(gold, rf"so it is \boxed{{{answer}}}", policy=policy).outcome


EQUAL = {
    "integer": [
        ("12", "12"),
        ("025", "25"),
        ("1,234", "1234"),
        ("-7", "−7"),
        ("12", "１２"),
        ("12", "12."),
        ("1000", r"1\,000"),
    ],
    "fraction": [
        (r"\frac{1}{2}", "1/2"),
        (r"\frac12", r"\dfrac{2}{4}"),
        ("3/2", r"1\frac{1}{2}"),
        ("½", "0.5"),
    ],
    "decimal": [
        (r"0.\overline{3}", "1/3"),
        (r"1.2\overline{45}", r"\frac{137}{110}"),
        ("0.5", "1/2"),
        ("1500", r"1.5\times 10^3"),
        (".5", "0.50"),
        ("0.333333", r"\frac{1}{3}"),
    ],
    "percent": [("50%", r"50\%"), (r"50\%", "50"), (r"50\%", "0.5"), ("0.5", r"50\%"), ("12.5%", r"12.5\%")],
    "unit": [
        ("12", r"12\text{ cm}"),
        ("12 cm", r"12 \text{ centimeters}"),
        ("18", r"\$18"),
        ("18", "18 dollars"),
    ],
    "degrees": [("45", r"45^\circ"), (r"45^{\circ}", "45°"), ("45", "45 degrees")],
    "set": [
        (r"\{1,2\}", r"\{2,1\}"),
        ("1,2", "2,1"),
        (r"\{1,2\}", r"\left\{1,2\right\}"),
        ("2,-2", r"\pm 2"),
        (r"\emptyset", r"\varnothing"),
    ],
    "interval": [
        (r"x \in [-2,7]", "[-2,7]"),
        (r"k \ge 8", r"[8,\infty)"),
        ("(1,2]", r"\left(1,2\right]"),
        (r"(-\infty,3)", r"(-\infty, 3)"),
        ("[0,1]", r"[0,\frac{2}{2}]"),
    ],
    "union": [(r"(-\infty,1)\cup(2,\infty)", r"(2,\infty)\cup(-\infty,1)")],
    "tuple": [("(1,2)", "(1,2)"), ("(1,2,3)", r"\left(1, 2, 3\right)"), ("(3,1)", r"(\frac{6}{2}, 1)")],
    "matrix": [(r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", "\\begin{bmatrix}1 & 2\\\\ 3 & 4\\end{bmatrix}")],
    "expression": [("x^2+2x+1", "(x+1)^2"), (r"2\sqrt{3}", r"\sqrt{12}"), ("2+3i", "3i+2"), ("x²", "x^2")],
    "equation": [("y=2x+1", "y-2x=1"), ("x=3", "3"), ("3", "x=3")],
    "choice": [("A", r"\text{(A)}"), ("(B)", "B"), ("C", "C) 12"), ("D", r"\textbf{D}"), ("A", "(A) 12")],
    "text": [
        ("Monday", r"\text{monday}"),
        (r"\text{no solution}", "No solution"),
        ("yes", "Yes."),
        ("no", "no"),
    ],
}
DIFFERENT = {
    "integer": [("12", "21"), ("12", "-12"), ("1,234", "234"), ("12", "12.5"), ("3", "3,3"), ("12", "x")],
    "fraction": [(r"\frac{1}{2}", "2"), (r"\frac{1}{2}", r"\frac{1}{3}"), ("1/3", "0.33")],
    "decimal": [("0.5", "0.6"), ("1.2", "1,2"), ("3.14159", r"\pi")],
    "percent": [(r"50\%", r"51\%"), ("50", r"51\%"), (r"50\%", "0.6")],
    "unit": [("12 m", "12 cm"), ("12", r"13\text{ cm}"), (r"12\text{ cm}^2", r"12\text{ cm}^3")],
    "set": [(r"\{1,2\}", r"\{1,3\}"), (r"\{1,2\}", r"\{1\}"), ("1,2", "1,2,3")],
    "interval": [("[1,2]", "(1,2)"), ("(1,2]", "[1,2)"), ("(1,3)", "(1,2)"), (r"(-\infty,3)", r"(3,\infty)")],
    "tuple": [("(1,2)", "(2,1)"), ("(1,2,3)", "(3,2,1)"), ("(1,2)", "(1,2,3)")],
    "matrix": [(r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix}1&2\\3&5\end{pmatrix}")],
    "expression": [("x^2+1", "x^2-1"), ("2x", "2y"), (r"\sqrt{2}", r"\sqrt{3}"), (r"\infty", r"\frac{1}{0}")],
    "equation": [("y=2x+1", "y=2x+2"), ("x=3", "x=4")],
    "choice": [("A", "B"), ("A", r"\text{(C)}"), ("B", "12"), ("A", "Apple")],
    "text": [("no", "on"), ("Monday", "Tuesday"), ("listen", "silent"), ("yes", "no"), ("evelyn", "12")],
}


@pytest.mark.parametrize(("gold", "answer"), list(itertools.chain(*EQUAL.values())))
def test_equal_answers_are_correct(gold, answer):
    assert boxed(gold, answer) is Outcome.CORRECT


@pytest.mark.parametrize(("gold", "answer"), list(itertools.chain(*DIFFERENT.values())))
def test_different_answers_are_wrong(gold, answer):
    assert boxed(gold, answer) is Outcome.WRONG


def test_strict_refuses_arithmetic_left_to_the_grader():
    assert boxed("391", r"17 \times 23") is Outcome.CORRECT
    for answer in (r"17 \times 23", "17*23", "390+1", "400-9", r"\frac{782}{2}", "391=391", "x=391"):
        assert boxed("391", answer, "strict") is Outcome.WRONG
    assert boxed("391", "391", "strict") is Outcome.CORRECT
    assert boxed("-391", "-391", "strict") is Outcome.CORRECT
    assert boxed(r"2^{10}", "1024", "strict") is Outcome.CORRECT


def test_verdicts_tell_what_was_compared():
    verdict = grade("####  12", r"\boxed{\text{13}}", policy="last_box")
    assert (verdict.outcome, verdict.gold, verdict.extracted) == (Outcome.WRONG, "12", "13")
    nothing = grade("12", "so it is 12", policy="last_box")
    assert (nothing.outcome, nothing.extracted) == (Outcome.NO_ANSWER, None)
    assert nothing.detail == "no complete box"
    assert grade(" ", r"\boxed{1}", policy="last_box").outcome is Outcome.FAILED
    assert "math-verify-0.9" in GRADER_VERSION
    with pytest.raises(ConfigError, match="unknown grading policy"):
        grade("1", "1", policy="best")


def test_grading_works_off_the_main_thread():
    outcomes = []
    thread = threading.Thread(target=lambda: outcomes.append(boxed(r"\frac{1}{2}", r"\frac{3}{6}")))
    thread.start()
    thread.join(30)
    assert outcomes == [Outcome.CORRECT]


@pytest.mark.slow
def test_importing_the_pool_loads_no_heavy_module():
    code = (
        "import sys, rlvr.reward.workers.pool, rlvr.reward.grader;"
        "print([m for m in ('torch','ray','vllm','deepspeed','sympy','numpy') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.stdout.strip() == "[]", result.stderr


def shared_rows(name: str) -> list[dict]:
    path = SHARED_DATA / name
    if not path.is_file():
        pytest.skip(f"{name} is not in the shared data folder beside the checkout")
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["aime24.jsonl", "amc23.jsonl", "gsm8k_600.jsonl"])
def test_shared_golds_against_themselves_and_each_other(name):
    golds = [row["answer"].rsplit("####", 1)[-1].strip() for row in shared_rows(name)]
    assert all(boxed(gold, gold) is Outcome.CORRECT for gold in golds)
    assert all(boxed(gold, gold, "strict") is Outcome.CORRECT for gold in golds)
    values = [int(gold.replace(",", "")) for gold in golds]
    pairs = [(i, j) for i, j in itertools.product(range(len(golds)), repeat=2) if values[i] != values[j]]
    pairs = random.Random(0).sample(pairs, min(len(pairs), 20_000))
    assert len(pairs) > 500
    assert {boxed(golds[i], golds[j]) for i, j in pairs} == {Outcome.WRONG}


def test_shared_golds_as_expressions_against_other_answers():
    """The same through math-verify: answers spelled so that no exact path applies."""
    golds = sorted({int(row["answer"]) for row in shared_rows("aime24.jsonl")})
    for gold, other in zip(golds, golds[1:] + golds[:1], strict=True):
        assert boxed(str(gold), rf"\frac{{{2 * gold}}}{{2}}") is Outcome.CORRECT
        assert boxed(str(gold), rf"\frac{{{2 * other}}}{{2}}") is Outcome.WRONG
        assert boxed(str(gold), f"{other}.0") is Outcome.WRONG


def test_shared_worked_solutions():
    for row in shared_rows("aime24.jsonl"):
        assert grade(row["answer"], row["solution"], policy="last_box").correct, row["id"]
    for row in shared_rows("gsm8k_600.jsonl"):
        assert grade(row["answer"], row["answer"], policy="last_box_or_unboxed").correct, row["idx"]


def test_shared_worked_solutions_of_other_problems():
    aime = shared_rows("aime24.jsonl")
    for row, other in itertools.product(aime, aime):
        if int(row["answer"]) != int(other["answer"]):
            assert not grade(row["answer"], other["solution"], policy="last_box").correct
    gsm = shared_rows("gsm8k_600.jsonl")
    for row, other in itertools.pairwise(gsm):
        if row["answer"].rsplit("####")[-1].strip() != other["answer"].rsplit("####")[-1].strip():
            assert not grade(row["answer"], other["answer"], policy="last_box_or_unboxed").correct
