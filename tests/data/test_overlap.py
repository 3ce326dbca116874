"""Training questions that also stand in an evaluation set."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.data.overlap import SharedQuestion, find_overlap, normalise, settle_overlap
from rlvr.errors import DataError
from rlvr.types import Problem


def problems(source, *questions):
    return tuple(Problem(f"{source}/{i}", q, "1", source) for i, q in enumerate(questions))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Find  $x$.\n", "find x."),
        (r"$\left( \dfrac{1}{2} \right)$", r"(\frac{1}{2})"),
        (r"1,\!000\quad a", "1,000a"),
        (r"\int f\,dx = 5\ m", r"\int f dx = 5 m"),
        ("x\\\ny", "xy"),
        (r"a \\ b", r"a\\b"),
        ("\uff11 + 1", "1+1"),  # full-width one
        (r"\displaystyle \tfrac12", r"\frac 12"),
    ],
)
def test_copies_are_recognised(one, other):
    assert normalise(one) == normalise(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2+1", "2-1"),
        ("x^2", "x_2"),
        (r"x \leftarrow y", "x arrow y"),
        (r"a \\, b", r"a \ b"),
        ("Find 10", "Find 100"),
        ("a<b", "a>b"),
    ],
)
def test_different_questions_stay_different(one, other):
    assert normalise(one) != normalise(other)


@given(st.text(alphabet="aB1+-^= $\n"))
def test_spacing_and_dollar_signs_never_matter(text):
    assert normalise(" $".join(text)) == normalise(text) == normalise(normalise(text))


def test_every_pair_is_found():
    train = problems("t", "1+1=?", "2+2=?", "3+3=?")
    evals = {"a": problems("a", "2 + 2 = ?"), "b": problems("b", "9", "$2+2=?$", "1+1=?")}
    assert find_overlap(train, evals) == (
        SharedQuestion("t/0", "b", "b/2"),
        SharedQuestion("t/1", "a", "a/0"),
        SharedQuestion("t/1", "b", "b/1"),
    )


def test_policies(caplog):
    train, evals = problems("t", "1+1=?", "2+2=?"), {"a": problems("a", "2+2=?")}
    kept, found = settle_overlap(train, evals, "warn")
    assert (kept, len(found)) == (train, 1)
    assert "1 of 2 training questions also stand in an evaluation set: t/1 = a/0 in a" in caplog.text
    kept, found = settle_overlap(train, evals, "drop")
    assert (kept, len(found)) == (train[:1], 1)
    with pytest.raises(DataError, match=r"t/1 = a/0 in a.*on_overlap=drop"):
        settle_overlap(train, evals, "refuse")
    with pytest.raises(DataError, match="Nothing is left"):
        settle_overlap(train[1:], evals, "drop")
    with pytest.raises(DataError, match="on_overlap is 'ask'"):
        settle_overlap(train, evals, "ask")


def test_without_overlap_nothing_is_said(caplog):
    train = problems("t", "1+1=?")
    assert settle_overlap(train, {"a": problems("a", "2+2=?")}, "refuse") == (train, ())
    assert not caplog.text
