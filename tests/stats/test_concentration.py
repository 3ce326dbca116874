"""How unequally weights are spread, against formulas written down differently and against what must not matter."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import variation

from rlvr.stats.concentration import effective_ratio, gini, top_share

NUMBERS = arrays(np.float32, st.integers(1, 60), elements=st.floats(0, 1000, width=32)).filter(np.any)
SHARES = st.sampled_from([0.01, 0.05, 0.2, 0.5, 1.0])


def test_by_hand():
    values = np.asarray([1.0, 2.0, 3.0, 4.0])
    assert gini(values) == pytest.approx(0.25)
    assert effective_ratio(values) == pytest.approx(100 / (4 * 30))
    assert [top_share(values, share) for share in (0.01, 0.25, 0.3, 0.5, 1.0)] == pytest.approx(
        [0.4, 0.4, 0.7, 0.7, 1.0]
    )
    assert top_share(np.ones(100), 0.07) == pytest.approx(0.07)


@given(NUMBERS)
def test_gini_is_the_mean_difference_over_twice_the_mean(values):
    exact = values.astype(np.float64)
    differences = np.abs(exact[:, None] - exact[None, :]).mean()
    assert gini(values) == pytest.approx(differences / (2 * exact.mean()), abs=1e-12)


@given(NUMBERS)
def test_gini_is_the_area_between_the_lorenz_curve_and_the_diagonal(values):
    lorenz = np.concatenate([[0.0], np.cumsum(np.sort(values.astype(np.float64)))])
    area = np.trapezoid(lorenz / lorenz[-1], dx=1 / len(values))
    assert gini(values) == pytest.approx(1 - 2 * area, abs=1e-12)


@given(NUMBERS)
def test_the_effective_share_falls_with_the_coefficient_of_variation(values):
    expected = 1 / (1 + variation(values.astype(np.float64)) ** 2)
    assert effective_ratio(values) == pytest.approx(expected, rel=1e-9)


@pytest.mark.slow
@given(NUMBERS, SHARES)
def test_the_top_share_is_that_of_the_largest(values, share):
    largest = sorted(values.tolist(), reverse=True)[: math.ceil(len(values) * share)]
    assert top_share(values, share) == pytest.approx(sum(largest) / math.fsum(values.tolist()), rel=1e-9)


@pytest.mark.slow
@given(NUMBERS, SHARES, st.floats(1e-6, 1e6), st.randoms(use_true_random=False))
def test_neither_scale_nor_order_nor_sign_matters(values, share, scale, random):
    other = values.astype(np.float64) * scale
    random.shuffle(other)
    other[:: 1 + random.randrange(3)] *= -1
    for measure in (gini, effective_ratio, lambda v: top_share(v, share)):
        assert measure(other) == pytest.approx(measure(values), abs=1e-9)


@given(NUMBERS)
def test_bounds(values):
    count = len(values)
    assert 0 <= gini(values) <= (count - 1) / count + 1e-12
    assert 1 / count - 1e-12 <= effective_ratio(values) <= 1 + 1e-12
    marks = (0.01, 0.05, 0.2, 0.5, 1.0)
    shares = [top_share(values, share) for share in marks]
    assert shares[-1] == pytest.approx(1)
    assert all(less <= more + 1e-12 for less, more in pairwise(shares))
    assert all(found >= share - 1e-12 for found, share in zip(shares, marks, strict=True))


@pytest.mark.parametrize("size", [1e-300, 1e-30, 1.0, 1e30, 1e300])
@pytest.mark.parametrize("count", [1, 2, 1000])
def test_the_ends_of_the_scale(size, count):
    equal, alone = np.full(count, size), np.zeros(count)
    alone[count // 2] = size
    assert (gini(equal), effective_ratio(equal)) == pytest.approx((0, 1), abs=1e-12)
    assert (gini(alone), effective_ratio(alone)) == pytest.approx(((count - 1) / count, 1 / count), abs=1e-12)
    assert top_share(alone, 0.01) == 1
    assert top_share(equal, 0.05) == pytest.approx(math.ceil(count / 20) / count)


@pytest.mark.parametrize("values", [np.zeros(0), np.zeros(3)])
def test_nothing_is_spread_over_nothing(values):
    assert np.isnan([gini(values), effective_ratio(values), top_share(values, 0.2)]).all()
