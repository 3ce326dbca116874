"""Evaluation statistics against brute-force enumeration and simulation."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import DescrStatsW

from benchmarks.coverage import POPULATIONS, SKEWED, simulate
from rlvr.stats.accuracy import (
    EvalResult,
    accuracy_ci95,
    avg_at_k,
    compare,
    compare_correct,
    correctness,
    length_stats,
    pass_at_k,
    wilson_interval,
)

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


# ---- intervals


def test_the_interval_of_a_difference_is_the_cluster_robust_one():
    """From one that is always wrong: that of a regression on a constant, errors clustered by problem (statsmodels)."""
    rng = np.random.default_rng(0)
    correct = rng.random((12, 5)) < rng.random((12, 1))
    estimate = compare_correct(np.zeros_like(correct), correct, "two models")
    clusters = np.repeat(np.arange(12), 5)
    fitted = OLS(correct.ravel().astype(float), np.ones(60)).fit(
        cov_type="cluster",
        cov_kwds={"groups": clusters, "use_correction": False, "df_correction": True},
        use_t=True,
    )
    # statsmodels leaves out the factor P / (P - 1) here; its t has P - 1 degrees of freedom.
    half = float(fitted.bse[0]) * math.sqrt(12 / 11) * scipy.stats.t.ppf(0.975, 11)
    assert estimate.difference == pytest.approx(float(fitted.params[0]))
    assert estimate.high - estimate.difference == pytest.approx(half)
    assert estimate.difference - estimate.low == pytest.approx(half)


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
    """31 of 100, at the quantile of t with 99 degrees of freedom in place of the normal one (statsmodels)."""
    estimate = wilson_interval((np.arange(100) < 31)[:, None])
    alpha = 2 * scipy.stats.norm.sf(scipy.stats.t.ppf(0.975, 99))
    expected = proportion_confint(31, 100, alpha=alpha, method="wilson")
    assert (estimate.low, estimate.high) == pytest.approx(expected)
    none = wilson_interval(np.zeros((30, 4), dtype=bool))  # 30 problems, not 120 samples
    alpha = 2 * scipy.stats.norm.sf(scipy.stats.t.ppf(0.975, 29))
    assert (none.low, none.high) == pytest.approx(proportion_confint(0, 30, alpha=alpha, method="wilson"))


@settings(max_examples=25)
@given(
    st.tuples(st.integers(1, 6), st.integers(1, 7)).flatmap(
        lambda shape: arrays(np.float64, shape, elements=st.sampled_from([0.0, 1.0, math.nan]))
    )
)
@example(np.tile([1.0, 0.0], (30, 4)))  # problems that are more alike than chance has them
def test_the_default_interval_is_wilsons_at_the_size_that_the_design_effect_leaves(correct):
    """The effect is the variance between problems, half of one all right and half of one all wrong beside them, over
    that of independent samples; at least 1, and at most the samples of a problem (statsmodels, weighted)."""
    correct = correct[~np.isnan(correct).all(axis=1)]
    assume(len(correct))
    problems, samples = len(correct), (~np.isnan(correct)).sum(axis=1).mean()
    shares = np.nanmean(correct, axis=1)
    described = DescrStatsW([*shares, 1, 0], weights=[1] * problems + [0.5, 0.5], ddof=1)
    effect = samples * described.var / (described.mean * (1 - described.mean))
    size = problems * samples / np.clip(effect, 1, samples)
    alpha = 2 * scipy.stats.norm.sf(scipy.stats.t.ppf(0.975, max(problems - 1, 1)))
    expected = proportion_confint(shares.mean() * size, size, alpha=alpha, method="wilson")
    found = wilson_interval(correct)
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-7)


def test_the_interval_of_a_difference_agrees_with_the_bootstrap_of_many_problems():
    rng = np.random.default_rng(3)
    correct = rng.random((400, 8)) < rng.random((400, 1))
    found = compare_correct(np.zeros_like(correct), correct, "two models")
    rates = (correct.mean(axis=1),)
    drawn = scipy.stats.bootstrap(rates, np.mean, method="percentile", rng=1).confidence_interval
    assert (found.low, found.high) == pytest.approx(tuple(drawn), abs=2e-3)


def coverage(population: str, problems: int, samples: int, replicates: int = 2000) -> float:
    """How often the interval holds the population's mean; see docs/statistics.md."""
    return simulate(population, problems, samples, replicates=replicates, seed=0).coverage


@pytest.mark.slow
@pytest.mark.parametrize("population", SKEWED)
def test_the_default_interval_covers_skewed_rates_of_few_problems(population):
    assert coverage(population, 30, 8) >= 0.93


@pytest.mark.slow
@pytest.mark.parametrize("population", POPULATIONS)
@pytest.mark.parametrize(("problems", "samples"), [(10, 8), (40, 32), (200, 4)])
def test_the_default_interval_covers_every_population(population, problems, samples):
    assert coverage(population, problems, samples, replicates=800) >= 0.93


@pytest.mark.slow
@pytest.mark.parametrize("population", ["Beta(.03, .5)", "Beta(.03, 2)"])
def test_many_problems_are_covered_as_before(population):
    found = simulate(population, 200, 4, replicates=2000, seed=0)
    assert 0.93 <= found.coverage <= 0.965
    assert (
        found.width < 1.1 * found.plain_width
    )  # of the effective size alone, which falls short of 30 problems


def test_the_default_interval_covers_rare_success_where_the_plain_one_does_not():
    found = simulate("Beta(.03, .5)", 30, 8, replicates=300, seed=0)
    assert found.coverage > 0.93
    assert found.plain_coverage < 0.9


# ---- paired comparison


def test_compare_is_the_paired_t_test_over_problems():
    first = result([[0, 0], [1, 1], [0, 1], [0, 0]], "before")
    second = result([[1, 1, 1], [0, 0, 1], [1, 1, 1], [1, 1, 1]], "after", ids=["p/3", "p/2", "p/1", "p/0"])
    found = compare(first, second)
    before, after = [0, 1, 0.5, 0], [1, 1, 1 / 3, 1]
    expected = scipy.stats.ttest_rel(after, before)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert found.difference == pytest.approx(np.mean(after) - np.mean(before))
    assert (found.problems, found.differing) == (4, 3)
    both = scipy.stats.t.ppf(0.975, 3) + scipy.stats.t.ppf(0.8, 3)
    assert found.detectable == pytest.approx(both * scipy.stats.sem(np.subtract(after, before)))
    mirrored = compare(second, first)
    assert mirrored.difference == pytest.approx(-found.difference)
    assert mirrored.p_value == pytest.approx(found.p_value)


@given(
    st.integers(2, 8).flatmap(
        lambda n: st.tuples(
            *[st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=n, max_size=n)] * 2
        )
    )
)
def test_the_interval_holds_zero_exactly_where_the_test_does_not_reject(pair):
    found = compare(result(pair[0]), result(pair[1]))
    assert (found.p_value < 0.05) == (found.low > 0 or found.high < 0)
    assert found.low < found.difference < found.high


def test_equal_models_do_not_differ_by_more_than_a_sample_or_two():
    same = result([[1, 0], [0, 0], [1, 1]])
    found = compare(same, same)
    assert (found.difference, found.p_value, found.differing) == (0, 1.0, 0)
    assert found.high == -found.low
    assert found.high == pytest.approx(scipy.stats.t.ppf(0.975, 2) * math.sqrt(2 / 4 / 2 / 3))
    many = result([[1, 0, 1, 0]] * 100)
    assert compare(many, many).high < 0.01


def test_the_least_spread_is_that_of_a_sample_of_the_most():
    """Of rates 1/2 and 1, by 2 and 3 samples against 6 and 6."""
    few = correctness([[True, False, None], [True, True, True]])
    many = correctness([[True, False] * 3, [True] * 6])
    for pair in ((few, many), (many, few)):
        found = compare_correct(*pair, "both")
        assert (found.difference, found.differing) == (0, 0)
        assert found.high == pytest.approx(scipy.stats.t.ppf(0.975, 1) * math.sqrt(2 / 36 / 1 / 2))


def test_a_test_needs_two_problems():
    with pytest.raises(ValueError, match="a test needs two"):
        compare(result([[1]]), result([[0]]))


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


def test_a_record_without_samples_is_refused():
    with pytest.raises(ValueError, match="not empty"):
        result(np.zeros((0, 3)))


@pytest.mark.parametrize(
    "correct", [np.zeros((0, 3), bool), np.zeros((3, 0), bool), np.zeros(3, bool), [[0.5]], [[1, 0]]]
)
def test_correctness_of_another_shape_or_type_is_refused(correct):
    with pytest.raises(ValueError, match="expected bool"):
        accuracy_ci95(correct)
