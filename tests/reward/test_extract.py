r"""Extraction policies: which text counts as the answer."""

import time

import pytest

from rlvr.errors import ConfigError
from rlvr.reward.extract import extract_answer, find_boxes, policy_named

LAST_BOX, UNBOXED, STRICT = map(policy_named, ("last_box", "last_box_or_unboxed", "strict"))


@pytest.mark.parametrize(
    ("response", "content"),
    [
        (r"so \boxed{12}", "12"),
        (r"first \boxed{1}, then \boxed{2}.", "2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\{1,2\}}", r"\{1,2\}"),
        (r"\boxed {7}", "7"),
        (r"\fbox{7}", "7"),
        (r"$\framebox{204}$ minutes", "204"),
        (r"\boxed{\boxed{5}}", "5"),
        (r"\boxed{x = \fbox{4} + 1}", r"x = \fbox{4} + 1"),
        (r"an open { brace and \boxed{3}", "3"),
        (r"\boxed{ \boxed{8}", "8"),
        (r"\\boxed{12}", "12"),
        (r"\\{ \boxed{12} \\}", "12"),
    ],
)
def test_last_box(response, content):
    assert extract_answer(response, LAST_BOX).content == content


@pytest.mark.parametrize(
    "response",
    [
        "",
        "12",
        r"\boxed{}",
        r"\boxed{1} \boxed{ }",
        r"\boxed{12",
        r"\boxed 12",
        "The answer is 12.",
        r"\boxed{12} but wait \boxed{13",
        r"\boxed{12} or rather \boxed{\frac{1}{2",
    ],
)
def test_last_box_finds_nothing(response):
    found = extract_answer(response, LAST_BOX)
    assert found.content is None
    assert found.reason


@pytest.mark.parametrize(
    ("response", "content"),
    [
        ("3 + 4 = 7\n#### 7", "7"),
        ("The answer is 12.", "12"),
        ("#### Step 2: add\nThe answer is 12.", "12"),
        ("the final answer is: $\\frac{1}{2}$.", "$\\frac{1}{2}$"),
        ("Answer: 3,125", "3,125"),
        ("**Answer:** 42", "42"),
        ("It follows that\n$x^2$", "$x^2$"),
        ("42", "42"),
        (r"\boxed{5}, so the answer is 6", "5"),
        ("answer: 3\nanswer: 4", "4"),
        ("The answer is 3. That settles it.", "3"),
    ],
)
def test_unboxed_answers_count_where_configured(response, content):
    assert extract_answer(response, UNBOXED).content == content


@pytest.mark.parametrize("response", ["there are 12 of them, I think", "no idea", ""])
def test_a_number_in_passing_is_no_answer(response):
    assert extract_answer(response, UNBOXED).content is None


@pytest.mark.parametrize(
    ("response", "content"),
    [
        (r"therefore $\boxed{12}$.", "12"),
        ("\\[\n\\boxed{12}\n\\]\n", "12"),
        (r"<think>\boxed{1} or \boxed{2}</think> It is \boxed{3}", "3"),
        (r"\boxed{1} \boxed{2}", None),
        (r"\boxed{12} I hope", None),
        (r"\boxed{12", None),
        (r"\boxed{}", None),
        (r"\boxed{\boxed{5}}", None),
        (r"<think>\boxed{3}</think> done", None),
        (r"\fbox{3}", None),
        (r"\boxed{3} \fbox{4}", None),
        ("12", None),
    ],
)
def test_strict(response, content):
    assert extract_answer(response, STRICT).content == content


def test_unknown_policy_names_the_known_ones():
    with pytest.raises(ConfigError, match="last_box, last_box_or_unboxed, strict"):
        policy_named("first_box")


@pytest.mark.slow
def test_extraction_is_linear():
    def seconds(size):
        text = r"\boxed{" * size + "{" * size + "}" * (2 * size) + r"\boxed{1}" * size
        started = time.process_time()
        boxes = find_boxes(text)
        assert boxes[-1].content == "1"
        return time.process_time() - started

    seconds(1000)
    small, large = min(seconds(2000) for _ in range(3)), min(seconds(20_000) for _ in range(3))
    assert large < 40 * small
