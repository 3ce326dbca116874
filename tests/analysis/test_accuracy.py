"""Evaluation statistics against brute-force enumeration and simulation."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rlvr.analysis.accuracy import (
    EvalResult,
    accuracy_ci95,
    avg_at_k,
    bootstrap_interval,
    compare,
    length_stats,
    normal_interval,
    pass_at_k,
    sign_flip_p_value,
    wilson_interval,
)
from rlvr.analysis.majority import majority_at_k

graded = st.integers(1, 6).flatmap(
    lambda problems: st.integers(1, 7).flatmap(lambda n: arrays(np.bool_, (problems, n)))
)


def result(correct, name="model", ids=None, **fields):
    correct = np.asarray(correct, dtype=bool)
    blank = {
        "problem_ids": tuple(ids or (f"p/{i}" for i in range(len(correct)))),
        "lengths": np.ones(correct.shape, dtype=np.int64),
        "truncated": np.zeros(correct.shape, dtype=bool),
        "answers": tuple(("1",) * correct.shape[1] for _ in correct),
    }
    return EvalResult(name=name, correct=correct, **(blank | fields))


# ---- avg@k and pass@k


@given(graded)
def test_pass_at_k_is_the_share_of_subsets_with_a_correct_sample(correct):
    n = correct.shape[1]
    for k in range(1, n + 1):
        expected = [np.mean([any(draw) for draw in itertools.combinations(row, k)]) for row in correct]
        np.testing.assert_allclose(pass_at_k(correct)[:, k - 1], expected, atol=1e-12)


@given(graded)
def test_pass_at_1_averages_to_avg_at_k(correct):
    assert pass_at_k(correct)[:, 0].mean() == pytest.approx(avg_at_k(correct))
    assert avg_at_k(correct) == correct.sum() / correct.size


@pytest.mark.parametrize(("n", "c"), [(1000, 1), (1000, 999), (2048, 3), (64, 0), (64, 64)])
def test_pass_at_k_is_stable_for_many_samples(n, c):
    row = np.arange(n) < c
    for k in (1, 2, n // 2, n):
        exact = 1 - Fraction(math.comb(n - c, k), math.comb(n, k))
        assert pass_at_k(row[None])[0, k - 1] == pytest.approx(float(exact), rel=1e-9, abs=1e-12)


# ---- majority@k


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


def test_majority_examples():
    answers = [["4", "4", "5"], ["4", "5", "4"], ["4", "5", None], [None, None, None]]
    correct = np.array([[1, 1, 0], [0, 1, 0], [1, 0, 0], [0, 0, 0]], dtype=bool)
    np.testing.assert_allclose(majority_at_k(answers, correct, 3), [1, 0, 0.5, 0])


def test_majority_of_one_is_the_accuracy():
    rng = np.random.default_rng(0)
    answers = [[str(x) for x in rng.integers(0, 4, 9)] for _ in range(5)]
    correct = np.array([[text == "0" for text in row] for row in answers])
    np.testing.assert_allclose(majority_at_k(answers, correct, 1), correct.mean(axis=1))


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


# ---- intervals


def test_normal_interval_is_the_cluster_robust_one():
    """The standard error equals the sandwich estimate over samples clustered by problem, with P / (P - 1)."""
    rng = np.random.default_rng(0)
    correct = rng.random((12, 5)) < rng.random((12, 1))
    residual = (correct - correct.mean()).sum(axis=1)  # score of each cluster
    sandwich = math.sqrt(12 / 11 * (residual**2).sum()) / correct.size
    estimate = normal_interval(correct.mean(axis=1))
    assert estimate.mean == pytest.approx(correct.mean())
    assert estimate.high - estimate.mean == pytest.approx(1.959963984540054 * sandwich)
    assert estimate.mean - estimate.low == pytest.approx(1.959963984540054 * sandwich)


def test_clustering_widens_the_interval_of_samples_that_agree():
    agreeing = np.repeat(np.arange(20) % 2 == 0, 8).reshape(20, 8)
    mean, low, high = accuracy_ci95(agreeing)
    assert mean == 0.5
    independent = 2 * 1.96 * math.sqrt(0.25 / agreeing.size)
    assert high - low > 2.4 * independent


@given(graded)
def test_the_default_interval_holds_the_mean_and_stays_in_range(correct):
    mean, low, high = accuracy_ci95(correct)
    assert mean == pytest.approx(correct.mean())
    assert 0 <= low <= mean <= high <= 1
    assert low < high


@given(graded)
def test_the_default_interval_treats_right_and_wrong_alike(correct):
    mean, low, high = accuracy_ci95(correct)
    mirrored = accuracy_ci95(~correct)
    np.testing.assert_allclose(mirrored, (1 - mean, 1 - high, 1 - low), atol=1e-12)


def test_wilson_is_the_textbook_interval_for_one_sample_a_problem():
    """31 of 100: the Wilson score interval is (0.2278, 0.4063), up to P / (P - 1) in the variance."""
    estimate = wilson_interval((np.arange(100) < 31)[:, None])
    assert estimate.low == pytest.approx(0.2278, abs=5e-4)
    assert estimate.high == pytest.approx(0.4063, abs=5e-4)
    none = wilson_interval(np.zeros((30, 4), dtype=bool))
    assert (none.low, none.high) == (0.0, pytest.approx(1.96**2 / (30 + 1.96**2), abs=1e-4))


def test_bootstrap_agrees_with_the_normal_interval_for_many_problems():
    scores = np.random.default_rng(3).random(400)
    one, other = bootstrap_interval(scores, seed=1), normal_interval(scores)
    assert one.low == pytest.approx(other.low, abs=2e-3)
    assert one.high == pytest.approx(other.high, abs=2e-3)
    assert one == bootstrap_interval(scores, seed=1)
    assert one != bootstrap_interval(scores, seed=2)


def test_the_default_interval_covers_rare_success_where_the_normal_one_does_not():
    """30 problems, 4 samples: success rates vary over problems with mean 0.03."""
    rng = np.random.default_rng(0)
    rates = rng.beta(0.015, 0.485, size=(600, 30, 1))
    covered = {"default": 0, "normal": 0}
    for correct in rng.random((600, 30, 4)) < rates:
        _, low, high = accuracy_ci95(correct)
        normal = normal_interval(correct.mean(axis=1))
        covered["default"] += low <= 0.03 <= high
        covered["normal"] += normal.low <= 0.03 <= normal.high
    assert covered["default"] / 600 > 0.92
    assert covered["normal"] / 600 < 0.8


# ---- paired comparison


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=8))
def test_sign_flip_p_value_by_enumeration(differences):
    observed = abs(sum(differences))
    flips = [
        abs(sum(sign * value for sign, value in zip(signs, differences, strict=True)))
        for signs in itertools.product((-1, 1), repeat=len(differences))
    ]
    expected = np.mean([flip >= observed for flip in flips])
    assert sign_flip_p_value(differences) == pytest.approx(expected)


def test_random_flips_agree_with_the_exact_test():
    """17 differing problems are drawn at random; the sum's distribution is binomial for unit differences."""
    differences = [1] * 13 + [-1] * 4
    exact = 2 * sum(math.comb(17, k) for k in range(13, 18)) / 2**17
    assert sign_flip_p_value(differences, permutations=40_000) == pytest.approx(exact, rel=0.15)
    assert sign_flip_p_value(differences, seed=1) == sign_flip_p_value(differences, seed=1)
    assert sign_flip_p_value([5] * 40) == pytest.approx(1 / 10_001)


def test_compare_pairs_by_problem_id():
    first = result([[0, 0], [1, 1], [0, 1], [0, 0]], "before")
    second = result([[1, 1, 1], [0, 0, 1], [1, 1, 1], [1, 1, 1]], "after", ids=["p/3", "p/2", "p/1", "p/0"])
    found = compare(first, second)
    differences = np.array([1, 0, 1 / 3 - 1 / 2, 1])
    assert found.difference == pytest.approx(differences.mean())
    assert found.high - found.low == pytest.approx(2 * 1.959964 * differences.std(ddof=1) / 2, rel=1e-6)
    assert (found.problems, found.differing) == (4, 3)
    assert (
        found.p_value == 4 / 8
    )  # of the signs of (1, 1, -1/6): both large ones alike, and the small one free
    mirrored = compare(second, first)
    assert mirrored.difference == pytest.approx(-found.difference)
    assert mirrored.p_value == found.p_value


def test_equal_models_do_not_differ():
    same = result([[1, 0], [0, 0], [1, 1]])
    found = compare(same, same)
    assert (found.difference, found.low, found.high, found.p_value, found.differing) == (0, 0, 0, 1.0, 0)


def test_the_test_rejects_as_often_as_it_says():
    """Equal models: p < 0.05 in about 5 % of comparisons or fewer."""
    rng = np.random.default_rng(0)
    low = 0
    for _ in range(300):
        rates = rng.beta(0.5, 0.5, size=(12, 1))
        first, second = (result(rng.random((12, 4)) < rates) for _ in range(2))
        low += compare(first, second).p_value < 0.05
    assert low / 300 < 0.08


def test_compare_refuses_different_problems():
    with pytest.raises(ValueError, match=r"2 problems stand in only one of them, such as 'p/1'"):
        compare(result([[1], [1]]), result([[1], [1]], ids=["p/0", "q"]))


# ---- lengths and records


def test_length_stats():
    stats = length_stats(
        result(
            [[1, 0], [1, 0]],
            lengths=np.array([[10, 20], [30, 100]]),
            truncated=np.array([[False, False], [True, True]]),
        )
    )
    assert (stats.mean, stats.median, stats.longest) == (40, 25, 100)
    assert stats.p90 == pytest.approx(79)
    assert (stats.mean_correct, stats.mean_wrong) == (20, 60)
    assert (stats.truncated, stats.truncated_correct) == (0.5, 0.5)


def test_length_stats_without_such_responses_are_nan():
    stats = length_stats(result([[1, 1]]))
    assert math.isnan(stats.mean_wrong)
    assert math.isnan(stats.truncated_correct)
    assert stats.truncated == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"ids": ["a"]},
        {"lengths": np.ones((2, 3), dtype=np.int64)},
        {"truncated": np.zeros((1, 2), dtype=bool)},
        {"answers": (("1", "2"), ("1",))},
        {"ids": ["a", "a"]},
    ],
)
def test_records_whose_fields_disagree_are_refused(wrong):
    with pytest.raises(ValueError, match=r"expected \(2, 2\)|more than once"):
        result([[1, 0], [0, 0]], **wrong)


@pytest.mark.parametrize(
    "correct", [np.zeros((0, 3), bool), np.zeros((3, 0), bool), np.zeros(3, bool), [[0.5]]]
)
def test_correctness_of_another_shape_or_type_is_refused(correct):
    with pytest.raises(ValueError, match="expected bool"):
        accuracy_ci95(correct)


def test_scores_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="one finite number per problem"):
        bootstrap_interval([[1.0]])
    with pytest.raises(ValueError, match="at least two problems"):
        normal_interval([1.0])
