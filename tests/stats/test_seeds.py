"""Statistics over seeds against published tables and simulation."""

from __future__ import annotations

import math
from unittest import mock

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from rlvr.stats.seeds import detectable_difference, paired_difference, seed_mean
from rlvr.stats.student import holm, interval_text, p_text, t_cdf, t_quantile, two_sided


@pytest.mark.parametrize(
    ("p", "df", "expected"),
    [  # a table of Student's t
        (0.975, 1, 12.706),
        (0.975, 2, 4.303),
        (0.975, 3, 3.182),
        (0.975, 4, 2.776),
        (0.975, 5, 2.571),
        (0.975, 10, 2.228),
        (0.975, 30, 2.042),
        (0.95, 7, 1.895),
        (0.8, 2, 1.061),
        (0.8, 9, 0.883),
        (0.995, 15, 2.947),
        (0.975, 1000, 1.962),
    ],
)
def test_quantiles_are_those_of_the_table(p, df, expected):
    assert t_quantile(p, df) == pytest.approx(expected, abs=5e-4)
    assert t_quantile(1 - p, df) == pytest.approx(-expected, abs=5e-4)


@given(st.floats(-50, 50), st.integers(1, 60))
def test_the_distribution_function_is_symmetric_and_inverted_by_the_quantile(t, df):
    assert t_cdf(t, df) + t_cdf(-t, df) == pytest.approx(1, abs=1e-12)
    p = t_cdf(t, df)
    if 1e-6 < p < 1 - 1e-6:
        assert t_quantile(p, df) == pytest.approx(t, rel=1e-4, abs=1e-6)


def test_interval_by_hand():
    found = seed_mean([0.4, 0.5, 0.6])  # sd 0.1, t 4.303
    assert (found.mean, found.seeds) == (pytest.approx(0.5), 3)
    assert found.high - found.mean == pytest.approx(4.3027 * 0.1 / math.sqrt(3), rel=1e-4)
    assert found.mean - found.low == pytest.approx(found.high - found.mean)
    assert seed_mean([0.4]).high == math.inf
    for values in ([], [[0.4, 0.5]]):
        with pytest.raises(ValueError, match="at least one"):
            seed_mean(values)


def test_paired_difference_by_hand():
    found = paired_difference([0.5, 0.7, 0.6, 0.8], [0.4, 0.5, 0.5, 0.6])  # 0.1, 0.2, 0.1, 0.2: t = 5.196
    assert found.mean == pytest.approx(0.15)
    assert found.p_value == pytest.approx(0.0138, abs=1e-4)
    assert found.low > 0
    assert math.isnan(paired_difference([0.5], [0.4]).p_value)
    assert paired_difference([0.5, 0.5], [0.5, 0.5]).p_value == 1
    assert paired_difference([0.6, 0.7, 0.8], [0.5, 0.6, 0.7]).p_value == 0.25  # the sign test
    assert paired_difference([0.5, 0.6, 0.7], [0.6, 0.7, 0.8]).p_value == 0.25
    with pytest.raises(ValueError, match="one pair per seed"):
        paired_difference([0.5], [0.4, 0.5])


def test_the_test_errs_as_often_as_it_says():
    rng = np.random.default_rng(0)
    p_values = [paired_difference(rng.normal(size=4), rng.normal(size=4)).p_value for _ in range(800)]
    assert 0.03 < np.mean(np.asarray(p_values) < 0.05) < 0.075


@pytest.mark.slow
@given(st.lists(st.floats(-1, 1), min_size=2, max_size=8), st.integers(0, 2**32 - 1))
def test_paired_difference_is_scipys(values, seed):
    other = np.asarray(values) + np.random.default_rng(seed).normal(size=len(values))
    found, expected = paired_difference(values, other), scipy.stats.ttest_rel(values, other)
    assert found.p_value == pytest.approx(expected.pvalue, abs=1e-9)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval(0.95)), rel=1e-6)


@given(st.floats(-30, 30), st.integers(1, 200))
def test_the_distribution_is_scipys(t, df):
    assert t_cdf(t, df) == pytest.approx(scipy.stats.t.cdf(t, df), abs=1e-12)
    assert two_sided(t, df) == pytest.approx(2 * scipy.stats.t.sf(abs(t), df), abs=1e-12)


def test_equal_differences_have_the_interval_of_the_sign_test():
    few = paired_difference([0.6, 0.7, 0.8], [0.5, 0.6, 0.7])
    assert (few.p_value, few.low, few.high) == (0.25, -math.inf, math.inf)
    many = paired_difference(np.arange(6) + 0.5, np.arange(6))
    assert (many.p_value, many.low, many.high) == (2**-5, 0.5, 0.5)
    for seeds in range(2, 9):
        found = paired_difference(np.arange(seeds) + 0.5, np.arange(seeds))
        expected = scipy.stats.binomtest(seeds, seeds).pvalue
        assert found.p_value == pytest.approx(expected)
        assert (found.low == found.high == 0.5) == (expected <= 0.05)
        assert math.isinf(found.low) == math.isinf(found.high) == (expected > 0.05)


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_the_detectable_difference_is_found_with_the_promised_power(seeds):
    difference = detectable_difference(0.5, seeds)
    power = TTestPower().power(difference / 0.5, nobs=seeds, alpha=0.05)
    assert power == pytest.approx(0.8, abs=0.05)  # the sum of two quantiles is the usual approximation
    rng = np.random.default_rng(1)
    found = [
        paired_difference(rng.normal(difference, 0.5, seeds), np.zeros(seeds)).p_value < 0.05
        for _ in range(600)
    ]
    assert np.mean(found) == pytest.approx(power, abs=0.06)


def test_the_detectable_difference_does_not_depend_on_the_one_observed():
    one, other = paired_difference([0.1, 0.2, 0.4], [0, 0, 0]), paired_difference([5.1, 5.2, 5.4], [0, 0, 0])
    assert one.detectable == pytest.approx(other.detectable)
    assert detectable_difference(0.5, 1) is None
    assert detectable_difference(0.5, 2) == pytest.approx((12.7062 + 1.3764) * 0.5 / math.sqrt(2), rel=1e-4)
    assert detectable_difference(0.0, 5) is None


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_that_of_statsmodels(p_values):
    # It collects garbage at every call, half a second each in a process as large as that of all tests.
    with mock.patch("gc.collect"):
        expected = multipletests(p_values, method="holm")[1]
    assert holm(p_values) == pytest.approx(list(expected))


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (0.5, "0.5"),
        (0.01234, "0.0123"),
        (1e-4, "<= 0.0001"),
        (0.0, "<= 0.0001"),
        (math.nan, "-"),
        (None, "-"),
    ],
)
def test_p_values_are_never_written_below_their_resolution(p, text):
    assert p_text(p) == text


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    found = holm([0.02, math.nan])
    assert found[0] == 0.02
    assert math.isnan(found[1])


@pytest.mark.parametrize(
    ("values", "form", "text"),
    [
        ((0.45, 0.348, 0.5561), ".3f", "0.450 (0.348..0.556)"),
        ((0.5, 0.25, 0.75), ".1%", "50.0% (25.0%..75.0%)"),
        ((-0.1, -0.2, 0.0), "+.3f", "-0.100 (-0.200..+0.000)"),
        ((0.45, float("nan"), float("nan")), ".3f", "0.450"),
        ((0.45, None, None), ".2f", "0.45"),
        ((float("nan"), 0.0, 1.0), ".3f", "-"),
        ((None, None, None), ".3f", "-"),
    ],
)
def test_a_value_is_written_with_its_interval_where_there_is_one(values, form, text):
    assert interval_text(*values, form) == text


def test_the_level_stands_before_the_bounds():
    assert interval_text(0.5, 0.25, 0.75, ".2f", level="95% ") == "0.50 (95% 0.25..0.75)"
