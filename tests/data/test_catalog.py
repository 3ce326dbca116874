"""Answers as the known data sets write them, read as text."""

from decimal import Decimal

import pytest

from rlvr.data.catalog import after_hashes, as_text, joined_answers, last_boxed


@pytest.mark.parametrize(
    ("value", "text"),
    [(" a ", "a"), (7, "7"), (27.0, "27"), (0.5, "0.5"), (-3, "-3"), ("", ""), (Decimal("1.50"), "1.5")],
)
def test_as_text(value, text):
    assert as_text(value) == text


@pytest.mark.parametrize("value", [None, True, ["a"], {"a": 1}, float("nan"), Decimal("nan")])
def test_as_text_refuses_other_types(value):
    with pytest.raises(ValueError, match=r"missing|type|finite"):
        as_text(value)


@pytest.mark.parametrize(
    ("solution", "answer"),
    [("9 * 2 = 18\n#### 18", "18"), ("#### no\n#### 1,234", "1234"), ("x #### -5 ", "-5")],
)
def test_after_hashes(solution, answer):
    assert after_hashes(solution) == answer


@pytest.mark.parametrize(
    ("solution", "answer"),
    [
        (r"so \boxed{4}", "4"),
        (r"\boxed{1} then \boxed{\frac{1}{2}}.", r"\frac{1}{2}"),
        (r"$\boxed{\{1, 2\}}$", r"\{1, 2\}"),
        (r"\boxed{ \text{(A)} }", r"\text{(A)}"),
        (r"is $\boxed 3$", "3"),
        (r"\fbox{x}", "x"),
        (r"$\boxed{1}$ and $\boxed{-2}$", "1, -2"),
        (r"first \boxed{1}. Then \boxed{-2}", "-2"),
        (r"\boxed{\begin{pmatrix}1\\{-2}\end{pmatrix}}", r"\begin{pmatrix}1\\{-2}\end{pmatrix}"),
        (r"\boxed{3\\}", r"3\\"),
        (r"\boxed{\text{one \fbox{x}}} ", r"\text{one \fbox{x}}"),
        (r"\framebox{7}", "7"),
        (r"\boxed{\boxed 3}", r"\boxed 3"),
        (r"\boxed{4}, which is \boxed 4", "4"),
        (r"\boxed{\left[ 0, \frac{\pi}{2} \right)}", r"\left[ 0, \frac{\pi}{2} \right)"),
    ],
)
def test_last_boxed(solution, answer):
    assert last_boxed(solution) == answer


def test_extractors_refuse_what_they_cannot_read():
    with pytest.raises(ValueError, match="####"):
        after_hashes("18")
    with pytest.raises(ValueError, match=r"no .*boxed"):
        last_boxed("18")
    with pytest.raises(ValueError, match="closing"):
        last_boxed(r"\boxed{\frac{1}{2}")
    with pytest.raises(ValueError, match="closing"):
        last_boxed(r"\boxed{1} so \boxed{2")


def test_joined_answers():
    assert joined_answers(["$2$", "$\\sqrt{3}$"]) == r"2, \sqrt{3}"
    assert joined_answers("4") == "4"
