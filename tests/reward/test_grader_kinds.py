"""Kinds of answers that public bug reports found graded wrongly, each with its neighbours on both sides."""

from __future__ import annotations

import json

import pytest

from rlvr.reward.grader import grade, grade_without_algebra, read_gold
from rlvr.reward.verdict import Outcome
from rlvr.timing import Stopwatch
from tests.helpers import grader_cases, grader_findings, grader_reports, grader_trials
from tests.helpers.paths import SHARED

TABLES = (grader_cases, grader_reports, grader_findings, grader_trials)
CASES = SHARED / "cases" / "trials.jsonl"

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
    ("12", "The answer is 12 marbles."),
    ("12", "#### 12 marbles"),
    ("5", "Answer: 5</s>"),
    ("5", "So it is.<answer>5</answer>"),
    ("5", "<answer>4</answer> no: <answer> 5 </answer><|im_end|>"),
    ("5", "<ANSWER>5</ANSWER>"),
    ("5", "<final_answer>5</final_answer>"),
    ("5", "[ANSWER]5[/ANSWER]"),
    ("5", "<think>\\boxed{4}</think>The answer is 5"),
    ("5", "\\boxed 5"),
    ("5", "\\boxed{5}\n\n**Answer:**\n"),
    ("5", "\\boxed{5}\n\n<answer></answer>"),
    ("5", "\\boxed{5}\n\n#### 2. Another way\nIt is the same."),
    ("5", "The answer is 5. No other value will do."),
    ("5", "Final Answer:\n\\[\n5\n\\]"),
    ("5", "The answer is about 5."),
    ("5", "The answer is 5, since 2 + 3 = 5."),
    ("5", "The answer is 5. The answer should be positive."),
    ("5", "The answer to the question is 5."),
    ("5", "The final result is **5**."),
    ("5", "Ans: 5"),
    ("5", "#### The answer is 5"),
    ("5", "x = 5"),
    ("5", '{"answer": "5"}'),
    ("5", "答案是5。"),
    ("5", "最终答案：$5$"),
    ("5", "Die richtige Antwort ist 5."),
    ("5", "La réponse est 5."),
    ("5", "Ответ: 5."),
    ("5", "답: 5"),
    ("5", "答えは5です。"),
    ("C", "故选：C"),
    ("C", "选项B正确？不，答案是C"),
    ("C", "The answer is C because A and B are wrong."),
    ("C", "Option C is correct."),
    ("C", "**(C)**"),
    ("1,2", "The answers are 1 and 2."),
    ("34", "Final Answer: The largest $n$ is 34."),
    ("42", "2+40=42\n#### 42\n and the reasoning above confirms this result is consistent."),
    ("70000", "#### $70,000\nThis is his profit."),
    ("5", "Thus 5 is the answer."),
    ("C", "Hence (C) is the correct answer."),
    ("2", "so $\\boxed2$."),
    ("so the largest is $\\boxed 2$.", "\\boxed{2}"),
    ("6", "\\boxed{5}\n\nActually, the correct answer is 6."),
    ("6", "\\boxed{5}\n\nActually the answer is 6."),
    ("C", "所以正确答案是C选项。"),
    ("5", "答：5个"),
    ("5", "Het antwoord is 5."),
    ("5", "Svaret är 5."),
    ("5", "Jawaban akhir: 5"),
    ("5", "Απάντηση: 5"),
    ("5", "תשובה: 5"),
]
NOT_ANNOUNCED = [
    ("5", "<think>\\boxed{5}</think>The answer is 4"),
    ("5", "The answer is 4, since 5 is too many."),
    ("5", "The answer is 5... wait, no, 6."),
    ("5", "> The answer is 5\n\nThat is false. I get 6."),
    ("5", "\\boxed{5}\n\nCorrection: the answer is 6."),
    ("5", "\\boxed{5}\n\n#### 6"),
    ("5", "\\boxed{5}\n\n<answer>6</answer>"),
    ("5", "The result is not 5."),
    ("5", "The answer might be 5."),
    ("5", "答案是4，不是5。"),
    ("5", "Die Antwort ist nicht 5."),
    ("5", "Het antwoord is niet 5."),
    ("5", "La respuesta es 4, no 5."),
    ("5", "答案是A或5"),
    ("5", '{"answer": "4"}'),
    ("5", "Transformation: 5"),
    ("C", "Option C is incorrect."),
    ("C", "The answer is D, since C is false."),
    ("5", "Thus 5 is not the answer."),
    ("3", "#### 3. Compute the sum\nI do not know."),
    ("5", "\\boxed{5}\n\nActually the answer is 6."),
    ("5", "Some say that 5 is the answer to everything."),
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


# Whose values nobody can work out, or not soon.
ENDLESS = [
    "5^{5^{5^5}}", r"((9!)!)!", r"\sum_{k=1}^{99}2^{10^k}", r"\binom{10^9}{10^8}", "e^{e^{e^{e^{e}}}}",
    r"\sum_{n=1}^\infty\frac{\sin n}{n}", "(a+b+c+d)^{30}", "+".join(["x"] * 200),
    r"\cup".join(f"({i},{i + 1})" for i in range(30)), "(" * 10 + "12" + ")" * 10, "x^{" * 10 + "2" + "}" * 10,
    r"\gcd(2^{10^8},3)", r"\operatorname{lcm}(7^{7^{7^7}},6)", "(7^{7^{7^7}},1)", "[0,7^{7^{7^7}}]",
    r"\begin{pmatrix}10^{10^9}&1\\1&2\end{pmatrix}", r"\begin{pmatrix}(10^7)!&1\\1&2\end{pmatrix}", "a^" * 100 + "a",
    r"\operatorname{zeros}(9999,9999)", r"\sin" * 40 + "x", "|" * 30 + "x" + "|" * 30, "a_" * 100 + "a",
    r"e^{7^{7^{7^7}}i}", r"\operatorname{diagonalize}\begin{pmatrix}a&b&3\\3&1&4\\1&1&2\end{pmatrix}",
    r"\Gamma(10^6)+x",
    *(
        opening + r"\\".join("&".join(f"x_{{{i}{j}}}" for j in range(6)) for i in range(6)) + closing
        for opening, closing in (
            (r"\begin{vmatrix}", r"\end{vmatrix}"), (r"\det\begin{pmatrix}", r"\end{pmatrix}"),
            (r"\begin{bmatrix}", r"\end{bmatrix}^{-1}"),
        )
    ),
]  # fmt: skip


def pairs(*tables: dict[str, list[tuple[str, str]]]) -> list[tuple[str, str]]:
    return [pair for table in tables for rows in table.values() for pair in rows]


@pytest.mark.parametrize(("gold", "answer"), pairs(*(table.EQUAL for table in TABLES)))
def test_equal_answers_are_correct(gold: str, answer: str) -> None:
    verdict = grade(gold, rf"\boxed{{{answer}}}", policy="last_box")
    assert verdict.outcome is Outcome.CORRECT, verdict


@pytest.mark.parametrize(("gold", "answer"), pairs(*(table.DIFFERENT for table in TABLES)))
def test_different_answers_are_wrong(gold: str, answer: str) -> None:
    verdict = grade(gold, rf"\boxed{{{answer}}}", policy="last_box")
    assert verdict.outcome is Outcome.WRONG, verdict


@pytest.mark.slow  # each would run for seconds, or for ever, where it is not refused unseen
@pytest.mark.parametrize("answer", ENDLESS)
def test_what_cannot_be_worked_out_is_wrong_soon(answer: str) -> None:
    watch = Stopwatch()
    assert grade("12", rf"\boxed{{{answer}}}", policy="last_box").outcome is Outcome.WRONG
    assert watch.seconds < 10  # of a busy machine


@pytest.mark.slow  # hung before: math-verify takes differences of a number and a set of numbers
@pytest.mark.parametrize("gold", ["(0,1)", r"\{1,2\}", r"(0,1)\cup(2,3)"])
def test_a_number_is_told_from_a_set_soon(gold: str) -> None:
    watch = Stopwatch()
    answer = r"\boxed{(\cos1+i\sin1)^{500}}"
    assert grade(gold, answer, policy="last_box").outcome is Outcome.WRONG
    assert watch.seconds < 10  # of a busy machine


@pytest.mark.parametrize(("gold", "response"), ANNOUNCED)
def test_announced_answers_are_read_through_their_markup(gold: str, response: str) -> None:
    verdict = grade(gold, response, policy="last_box_or_unboxed")
    assert verdict.outcome is Outcome.CORRECT, verdict


@pytest.mark.parametrize(("gold", "response"), NOT_ANNOUNCED)
def test_what_is_said_beside_an_announced_answer_does_not_count(gold: str, response: str) -> None:
    assert not grade(gold, response, policy="last_box_or_unboxed").correct


def test_what_is_announced_after_a_tag_is_the_later_word() -> None:
    for response in (
        "<answer>12</answer> Wait, no. The answer is 13.",
        "<answer>12</answer> as an example.\n#### 13",
    ):
        assert grade("13", response, policy="last_box_or_unboxed").correct, response


def test_several_announced_answers_are_not_one() -> None:
    assert not grade("4", "Answer: $3$ or $4$", policy="last_box_or_unboxed").correct


@pytest.mark.parametrize(("gold", "response", "correct"), BOXES)
def test_boxes_that_say_one_answer_together(gold: str, response: str, correct: bool) -> None:
    assert grade(gold, response, policy="last_box").correct is correct


def test_many_boxes_take_time_in_proportion() -> None:
    """The driver looks for them, where no deadline holds."""
    seconds = []
    for count in (2_000, 20_000):
        watch = Stopwatch()
        assert (
            grade_without_algebra("12", r"x=\boxed{1}, " * count, policy="last_box").outcome is Outcome.WRONG
        )
        seconds.append(watch.seconds)
    assert seconds[1] < 50 * max(seconds[0], 0.02)


def test_boxes_in_boxes_take_time_in_proportion() -> None:
    seconds = []
    for count in (500, 5_000):
        watch = Stopwatch()
        response = r"\boxed{ " * count + "12" + "}" * count
        assert grade_without_algebra("12", response, policy="last_box").outcome is Outcome.CORRECT
        seconds.append(watch.seconds)
    assert seconds[1] < 50 * max(seconds[0], 0.02)


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
