"""Statistics over seeds against published tables and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.analysis.seeds import holm, paired_difference, seed_mean, seeds_needed, t_cdf, t_quantile


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
    assert seed_mean([0.4]).high == math.inf
    with pytest.raises(ValueError, match="at least one"):
        seed_mean([])


def test_paired_difference_by_hand():
    found = paired_difference([0.5, 0.7, 0.6, 0.8], [0.4, 0.5, 0.5, 0.6])  # 0.1, 0.2, 0.1, 0.2: t = 5.196
    assert found.mean == pytest.approx(0.15)
    assert found.p_value == pytest.approx(0.0138, abs=1e-4)
    assert found.low > 0
    assert math.isnan(paired_difference([0.5], [0.4]).p_value)
    assert paired_difference([0.5, 0.5], [0.5, 0.5]).p_value == 1
    assert paired_difference([0.6, 0.7, 0.8], [0.5, 0.6, 0.7]).p_value == 0.25  # the sign test
    with pytest.raises(ValueError, match="one pair per seed"):
        paired_difference([0.5], [0.4, 0.5])


def test_the_test_errs_as_often_as_it_says():
    rng = np.random.default_rng(0)
    p_values = [paired_difference(rng.normal(size=4), rng.normal(size=4)).p_value for _ in range(800)]
    assert 0.03 < np.mean(np.asarray(p_values) < 0.05) < 0.075


def test_the_needed_seeds_give_the_promised_power():
    n = seeds_needed(0.5, 0.5)
    assert n == 10  # tables of the paired t-test at effect size 1: 10
    rng = np.random.default_rng(1)
    found = [paired_difference(rng.normal(0.5, 0.5, n), np.zeros(n)).p_value < 0.05 for _ in range(500)]
    assert 0.75 < np.mean(found) < 0.9
    assert seeds_needed(0.01, 0.1) == pytest.approx(790, abs=20)
    assert seeds_needed(0.0, 0.1) is None
    assert seeds_needed(1e-6, 1.0) is None
    assert seeds_needed(0.5, 0.0) == 6  # 2^-5 < 0.05 < 2^-4


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    found = holm([0.02, math.nan])
    assert found[0] == 0.02
    assert math.isnan(found[1])
