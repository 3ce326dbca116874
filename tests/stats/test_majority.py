"""Majority@k against brute-force enumeration."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr.stats.majority import majority_at_k


def majority_by_enumeration(answers, right, k):
    """Average over all k-subsets of the samples, each winner of a tie counting alike."""
    outcomes = []
    for draw in itertools.combinations(range(len(answers)), k):
        votes = [answers[i] for i in draw if answers[i] is not None]
        if not votes:
            outcomes.append(0.0)
            continue
        most = max(votes.count(text) for text in votes)
        winners = {text for text in votes if votes.count(text) == most}
        worth = [np.mean([right[i] for i in range(len(answers)) if answers[i] == text]) for text in winners]
        outcomes.append(float(np.mean(worth)))
    return np.mean(outcomes)


@pytest.mark.slow
@settings(max_examples=150)
@given(st.lists(st.sampled_from(["a", "b", "c", "d", None]), min_size=1, max_size=8), st.data())
def test_majority_at_k_is_exact(answers, data):
    right = data.draw(st.sampled_from(["a", "b", None]))
    correct = np.array([text is not None and text == right for text in answers])
    for k in range(1, len(answers) + 1):
        expected = majority_by_enumeration(answers, correct, k)
        assert majority_at_k([answers], correct[None], k)[0] == pytest.approx(expected, abs=1e-12)


@given(st.lists(st.sampled_from(["a", "b", None]), min_size=1, max_size=7), st.data())
def test_majority_with_equal_texts_graded_differently(answers, data):
    correct = np.array([text is not None and data.draw(st.booleans()) for text in answers])
    expected = majority_by_enumeration(answers, correct, len(answers))
    assert majority_at_k([answers], correct[None], len(answers))[0] == pytest.approx(expected, abs=1e-12)


def test_answers_of_one_value_vote_together():
    truth = np.array([[True, True, False, False]])
    assert majority_at_k([("1/2", "0.5", "3", "3")], truth, 4)[0] == 0.5  # two votes each
    for one, other in (("3/2", "1 1/2"), ("4.5e3", "4500"), (r"2\times10^{-3}", "0.002"), ("1,2", "2 and 1")):
        assert majority_at_k([(one, other, "3", "11/2")], truth, 4)[0] == 1, (one, other)
    for one, other in (("(1,2)", "(2,1)"), ("1 1/2", "11/2"), ("1,234", "1,2,34")):
        assert majority_at_k([(one, other, "3", "3")], truth, 4)[0] == 0, (one, other)
    assert (
        majority_at_k([("1/2", "0.5", r"\frac{1}{2}", "3")], np.array([[True, True, True, False]]), 4)[0] == 1
    )
    assert majority_at_k([("50\\%", ".50", "1,000", "1000.0")], truth, 4)[0] == 0.5
    assert majority_at_k([("a", "b", "c", "c")], truth, 4)[0] == 0  # other texts are other votes


def test_majority_examples():
    answers = [["4", "4", "5"], ["4", "5", "4"], ["4", "5", None], [None, None, None]]
    correct = np.array([[1, 1, 0], [0, 1, 0], [1, 0, 0], [0, 0, 0]], dtype=bool)
    np.testing.assert_allclose(majority_at_k(answers, correct, 3), [1, 0, 0.5, 0])


def test_majority_of_one_is_the_accuracy():
    rng = np.random.default_rng(0)
    answers = [[str(x) for x in rng.integers(0, 4, 9)] for _ in range(5)]
    correct = np.array([[text == "0" for text in row] for row in answers])
    np.testing.assert_allclose(majority_at_k(answers, correct, 1), correct.mean(axis=1))
    assert majority_at_k([["4", None]], [[True, False]], 1)[0] == 0.5  # silence is wrong


def test_majority_of_many_samples_stays_a_probability():
    rng = np.random.default_rng(0)
    answers = [[str(x) for x in rng.integers(0, 20, 256)]]
    correct = np.array([[text == "3" for text in answers[0]]])
    values = [majority_at_k(answers, correct, k)[0] for k in (1, 2, 64, 255, 256)]
    assert all(0 <= value <= 1 for value in values)


def test_majority_refuses_what_does_not_fit():
    correct = np.ones((1, 2), dtype=bool)
    for k in (0, 3):
        with pytest.raises(ValueError, match="1 <= k <= n"):
            majority_at_k([["a", "a"]], correct, k)
    with pytest.raises(ValueError, match="1 rows of 2"):
        majority_at_k([["a"]], correct, 1)
    with pytest.raises(ValueError, match="other than 0, 1 and nan"):
        majority_at_k([["a", "a"]], [[0.5, 1.0]], 1)
