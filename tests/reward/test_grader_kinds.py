"""Kinds of answers that public bug reports found graded wrongly, each with its neighbours on both sides."""

from __future__ import annotations

import json

import pytest

from rlvr.reward.grader import grade, read_gold
from rlvr.reward.verdict import Outcome
from tests.helpers.paths import SHARED

CASES = SHARED / "cases" / "trials.jsonl"

EQUAL = {
    "scientific": [
        ("4.5e33", r"4.5 \times 10^{33}"),
        ("4.5e33", "4500000000000000000000000000000000"),
        ("1e-05", "0.00001"),
        (r"6.02 \times 10^{23}", "6.02E+23"),
        ("6.02E23", r"6.02\cdot10^{23}"),
        ("3.0e8", r"3 \times 10^8"),
        ("300000000", "3e8"),
        ("1.6e-19", r"1.6 \times 10^{-19}"),
        ("6.02x10^23", "6.02e23"),
        ("1e-12", "10^-12"),
        (r"6.02 \times 10^{23}", "6.02 * 10**23"),
    ],
    "tiny": [
        ("0.00000012", "0.00000012"),
        ("0.333333", r"\frac13"),
        ("0.0000333", r"\frac{1}{30000}"),
        ("0", "-0"),
    ],
    "equation with several values": [
        ("x=1,2", "1,2"),
        (r"x = \pm 3", "3,-3"),
        ("x=1,2", "x=1,x=2"),
        ("x=1 or x=2", "2,1"),
        ("x=1, x=2", "1,2"),
        (r"x = 1 \pm \sqrt{2}", r"1+\sqrt2, 1-\sqrt2"),
    ],
    "choice": [
        ("B", "(B) 12"),
        ("B", "B) a rectangle"),
        ("C", "C) I think so"),
        ("C", "C: all of the above"),
        ("B", r"\textbf{(B)}"),
    ],
    "base": [
        ("1101_2", "1101_{2}"),
        ("1101_2", r"1101_{\text{two}}"),
        ("4210_{5}", "4210_5"),
        ("4210_{5}", "4210"),
        ("44_5", r"44_{\text{(5)}}"),
        ("-12_5", "-12_{5}"),
        ("12.30_5", "12.3_5"),
        ("x=44_5", "44_5"),
    ],
    "currency": [
        ("1250", "€1,250"),
        ("1250", "£1250"),
        ("50", "50¢"),
        ("1250", "1250 €"),
        ("7.50", r"\$7.50"),
        ("1250", "₹1250"),
        ("1250", "USD 1250"),
        ("12", "US$12"),
        ("50", "Rs. 50"),
        ("12", r"\text{€}12"),
        ("1250", r"\pounds1,250"),
        ("1250", "EUR1250"),
        ("1250", r"\text{\$}1250"),
        ("1250", r"\mathrm{€}1250"),
        ("1250", "CAD 1,250"),
        ("1250", "1250 yen"),
        ("1250", "1250 francs"),
    ],
    "mixed number": [
        (r"\frac{71}{6}", "11 5/6"),
        ("1 1/4", "5/4"),
        ("-2.5", r"-2\frac{1}{2}"),
        ("-3.5", "-3 1/2"),
        ("3 1/2", r"3\frac12"),
    ],
    "thousands": [
        ("1000", "1 000"),
        ("1000", "1\u00a0000"),
        ("1000", "1\u202f000"),
        ("12345", r"12\text{,}345"),
        ("10000", "10{,}000"),
        ("1234567", "1 234 567"),
        ("1234.5", "1 234.5"),
        ("1,000", "1 000"),
        ("1000", "1~000"),
        ("1000", r"1{\,}000"),
        ("12345", r"12\thinspace 345"),
        ("12345", r"12\mathrm{,}345"),
        ("1000", "1’000"),
        ("1234567", "1'234'567"),
    ],
    "interval and inequality": [
        ("(0, 12.5)", "0 < x < 12.5"),
        ("x<3", r"(-\infty, 3)"),
        ("[0,5]", r"0 \le x \le 5"),
        (r"(3,\infty)", "x>3"),
        (r"(-\infty,0)\cup(1,\infty)", r"x<0 \text{ or } x>1"),
        (r"x\le -1 or x \ge \frac{1}{2}", r"(-\infty,-1]\cup[\frac12,\infty)"),
        (r"(0,1)\cup(2,3)", "1>x>0 or 3>x>2"),
        ("x<0 or x>1", "x>1 or x<0"),
    ],
    "plain notation": [
        ("14-i", "14.0-1.0i"),
        ("14-2.5i", r"14-\frac{5}{2}i"),
        (r"\frac{1}{\sqrt{n}}", r"\sqrt{1/n}"),
        (r"-2\pi", "-2*pi"),
        ("e^{16} - 1", "-1 + exp(16)"),
        (r"\sqrt{5}", "sqrt(5)"),
        (r"2\sqrt{3}", "2*sqrt(3)"),
        (r"\infty", "inf"),
        ("1+2i", "1+2*i"),
        ("x^{2}", "x**2"),
        ("2^{10}", "2**10"),
        (r"\ln 2", "ln(2)"),
        (r"\sin(x)", "sin(x)"),
        (r"\sqrt[3]{2}", "cbrt(2)"),
        ("|x|", "abs(x)"),
        (r"\infty", "oo"),
        ("3+4i", "3 + 4*I"),
        (r"\sqrt{5}", "sqrt{5}"),
        (r"\sqrt{5}", r"\sqrt(5)"),
        (r"\sqrt{5}", "√(5)"),
        (r"x\sqrt{5}", r"x\sqrt(5)"),
        (r"\arctan 2", "atan(2)"),
        (r"\tan^{-1}(2)", "arctan(2)"),
        (r"\log_2 3", "log_2(3)"),
    ],
    "repeating decimal": [
        (r"0.\dot{3}", r"\frac13"),
        (r"0.1\dot{6}", r"\frac16"),
        (r"0.\dot{1}4285\dot{7}", r"\frac17"),
    ],
    "named unknowns": [
        ("x=2,y=3", "2,3"),
        ("x=2,y=3", "(2,3)"),
        ("x=2, y=3", "y=3, x=2"),
        (r"x=2 \text{ and } y=3", "x=2,y=3"),
        ("n=3k", "3k"),
        ("y=2x+1", "2x+1"),
        ("x=3", "3"),
        ("x=1,y=2", "(x,y)=(1,2)"),
        ("(x,y)=(1,2)", "y=2, x=1"),
    ],
}
DIFFERENT = {
    "scientific": [("1.6e-19", "1.602e-19"), ("1e-5", "1e-6"), ("5.98e24", "5.97e24"), ("4.5e33", "4.5e32")],
    "tiny": [
        (r"\frac{1}{2004!}", r"\frac{1}{2006!}"),
        (r"\frac{5}{6^{30}}", r"\frac{7}{6^{30}}"),
        ("0.0000001", "0.0000002"),
        (r"\frac{2^{2005}+1}{3 \cdot 2^{2006}}", r"\frac{1}{3 \cdot 2^{2006}}"),
        (r"\frac{1}{10^{20}}", "0.0"),
        ("0", "0.0000001"),
        (r"\{0.0000001,1\}", r"\{0.0000002,1\}"),
        ("(0.0000001,1)", "(0.0000002,1)"),
        ("2^{-40}", "2^{-41}"),
        ("0.000123", "0.000124"),
    ],
    "choice": [
        ("E", "E, D, C, B, A"),
        ("A", "(A)(B)(C)(D)"),
        ("D", "D) and C)"),
        ("B", "B/C"),
        ("B", "(B), (C)"),
        ("B", "B or C"),
        ("B", r"B \text{ and } C"),
        ("B", "B;C"),
    ],
    "base": [
        ("204_5", "204_6"),
        ("A5_{16}", "A5_{12}"),
        ("1101_2", r"1101_{\text{three}}"),
        ("x_1", "x_2"),
        ("-12_5", "-12_6"),
        ("-12_5", "12_5"),
        ("12.3_5", "12.3_6"),
        ("44_5", "x=44_6"),
    ],
    "currency": [("5", "€6"), ("50", "5¢")],
    "mixed number": [("2", "2 2/3"), (r"\frac{3}{2}", "3 1/2"), ("3", "3 1/3")],
    "numbers side by side": [("4", "2 2"), ("6", r"2 \quad 3"), ("0.5", "1 0.5"), ("-6", "-2 3")],
    "thousands": [("1,2", "1 2"), ("12", r"1\text{,}2"), ("1000", "1 00")],
    "interval and inequality": [
        ("(0,5)", r"0 \le x \le 5"),
        (r"[3,\infty)", "x>3"),
        ("(0,1)", "0<x<2"),
        ("x<0 or x>1", "x<0"),
        ("x<0 or x>1", r"x\le 0 or x>1"),
    ],
    "plain notation": [("x^{2}", "x**3"), ("1+2i", "1-2*i"), (r"\ln 2", "ln(3)")],
    "named unknowns": [
        ("n=3k", "3"),
        ("p=2,q=3", "3,2"),
        ("x=2, y=3", "y=2, x=3"),
        ("k=2n", "2"),
        ("x=2t", "2"),
        ("n=4m", "4"),
        ("n=-3h", "-3"),
        ("x=0.5s", "0.5"),
        ("x=2,y=3", "2"),
        ("x=3", "4"),
        ("x=2,y=3", "a=2,b=3"),
        ("x=1,y=2", "(x,y)=(2,1)"),
        ("(x,y)=(1,2)", "(2,1)"),
    ],
}
ANNOUNCED = [
    ("73", "Final Answer: **73**"),
    ("D", "**Answer: D**"),
    ("73", "**Final Answer:**\n73"),
    ("34", "The answer is **34**."),
    ("34", "**Answer:** $34$ (thirty-four)"),
    ("73", "### Final Answer: **$73$**"),
    ("D", "**Final answer: (D)**"),
    ("100", "Final Answer: The final answer is $100$. I hope it is correct."),
    ("12", "*Answer:* 12"),
    ("12", "*Answer*: *12*"),
    ("12", "Answer: `12`"),
    ("34", "**Final Answer:** The answer is 34"),
    ("5", "Final Answer:\n\n$$5$$"),
    ("12", "__Answer__: 12"),
    ("D", "The relation \\boxed{x \\ll y} holds.\n\n**Answer: D**"),
    ("5", r"\boxed{5}, so the answer is 6"),
    ("D", "The correct option is **(D)**"),
    ("D", r"\boxed{a<b}. Final answer: D"),
    ("12", "So \\boxed{3x} appears.\nThe final answer is 12."),
    ("12", "\\boxed{12} is right.\nThe final answer is in the box."),
    ("100", "Hence the answer is $100$, as required."),
    ("12", "The answer is 12, which is even."),
]
BOXES = [
    ("1,-2", r"So \boxed{1} and \boxed{-2}", True), ("1,2,3", r"\boxed{1}, \boxed{2}, and \boxed{3}", True),
    ("1,2", r"$\boxed{1}$ and $\boxed{2}$", True), (r"$\boxed{1}$ or $\boxed{2}$", r"\boxed{2,1}", True),
    (r"\boxed{1} and \boxed{-2}", r"\boxed{-2}", False), (r"\boxed{1} and \boxed{-2}", r"\boxed{1,-2}", True),
    ("2", r"\boxed{1}. No: \boxed{2}", True), ("3", r"\boxed{3} and \boxed{3}", True),
    ("1", r"\boxed{1} or \boxed{2}", False), (r"\{3,5\}", r"x=\boxed{3}, x=\boxed{5}", True),
    ("5", r"$x = \boxed{3}$, $y = \boxed{5}$", True), ("3,5", r"x=\boxed{3}, y=\boxed{5}", False),
    ("1,2", r"\[\boxed{1}\quad\text{and}\quad\boxed{2}\]", True),
    ("42", r"\boxed{42} no wait, \boxed{4", False),
]  # fmt: skip


def pairs(table: dict[str, list[tuple[str, str]]]) -> list[tuple[str, str]]:
    return [pair for rows in table.values() for pair in rows]


@pytest.mark.parametrize(("gold", "answer"), pairs(EQUAL))
def test_equal_answers_are_correct(gold: str, answer: str) -> None:
    verdict = grade(gold, rf"\boxed{{{answer}}}", policy="last_box")
    assert verdict.outcome is Outcome.CORRECT, verdict


@pytest.mark.parametrize(("gold", "answer"), pairs(DIFFERENT))
def test_different_answers_are_wrong(gold: str, answer: str) -> None:
    verdict = grade(gold, rf"\boxed{{{answer}}}", policy="last_box")
    assert verdict.outcome is Outcome.WRONG, verdict


@pytest.mark.parametrize(("gold", "response"), ANNOUNCED)
def test_announced_answers_are_read_through_their_markup(gold: str, response: str) -> None:
    verdict = grade(gold, response, policy="last_box_or_unboxed")
    assert verdict.outcome is Outcome.CORRECT, verdict


def test_several_announced_answers_are_not_one() -> None:
    assert not grade("4", "Answer: $3$ or $4$", policy="last_box_or_unboxed").correct


@pytest.mark.parametrize(("gold", "response", "correct"), BOXES)
def test_boxes_that_say_one_answer_together(gold: str, response: str, correct: bool) -> None:
    assert grade(gold, response, policy="last_box").correct is correct


def test_golds_that_cannot_be_read_are_told_from_those_that_can() -> None:
    for gold in ("4.5e33", "1250 €", r"0.\dot{3}", "Monday", "(B)", "204_5", r"x \in [1,2]", r"\frac12"):
        assert read_gold(gold, "").outcome is Outcome.CORRECT, gold
    for gold in (r"\begin{qqq} ??? \undefinedmacro", "??", r"\frac{1}{", ""):
        verdict = read_gold(gold, "")
        assert verdict.outcome is Outcome.FAILED, gold
        assert "gold answer" in verdict.detail


def test_cases_from_public_bug_reports() -> None:
    if not CASES.is_file():
        pytest.skip("the shared cases are not in the folder beside the checkout")
    for line in CASES.read_text().splitlines():
        case = json.loads(line)
        given = case["input"]
        if case["id"] in ("S10", "S12", "S13", "S18", "S23", "D3") or not case["expected"].startswith(
            ("wrong", "correct")
        ):
            continue  # not one verdict for the whole row: written out above
        right = case["expected"].startswith("correct")
        for pair in given.get("pairs", []):
            verdict = grade(
                pair["gold"], rf"\boxed{{{pair['answer']}}}", policy=given.get("policy", "last_box")
            )
            assert verdict.correct is right, (case["id"], pair, verdict)
        for one in given.get("cases", []):
            assert grade(one["gold"], one["response"], policy=given["policy"]).correct is right, (
                case["id"],
                one,
            )
