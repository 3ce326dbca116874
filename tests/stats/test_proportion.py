"""Shares against statsmodels."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.stats.proportion import difference, share

stats = pytest.importorskip("statsmodels.stats.proportion")
counts = st.integers(1, 64).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(counts)
def test_a_share_has_wilsons_interval(count: tuple[int, int]) -> None:
    found = share(*count)
    low, high = stats.proportion_confint(*count, method="wilson")
    assert found.mean == count[0] / count[1]
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-12)


@given(counts, counts)
def test_a_difference_has_newcombes_interval(before: tuple[int, int], after: tuple[int, int]) -> None:
    found = difference(share(*before), share(*after))
    low, high = stats.confint_proportions_2indep(*after, *before, method="newcomb", compare="diff")
    assert found.mean == after[0] / after[1] - before[0] / before[1]
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-9)


def test_no_trials_tell_nothing_and_more_successes_than_trials_are_an_error() -> None:
    assert math.isnan(share(0, 0).mean)
    with pytest.raises(ValueError, match="3 successes of 2 trials"):
        share(3, 2)
