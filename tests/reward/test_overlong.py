"""Length policies against values computed by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.reward.overlong import counts_as_correct, overlong_filter, soft_overlong_punishment


def test_soft_overlong_punishment_by_hand():
    # L_max = 20480 and L_cache = 4096 as in the paper: nothing up to 16384, -1/2 halfway, -1 from 20480 on.
    lengths = [0, 1, 16383, 16384, 16385, 17408, 18432, 20479, 20480, 20481, 10**6]
    expected = [0, 0, 0, 0, -1 / 4096, -0.25, -0.5, -4095 / 4096, -1, -1, -1]
    punishment = soft_overlong_punishment(lengths, max_length=20480, cache_length=4096)
    np.testing.assert_allclose(punishment, expected, rtol=0, atol=1e-15)
    np.testing.assert_array_equal(soft_overlong_punishment([0, 5, 10, 11], 10, 10), [0, -0.5, -1, -1])
    assert not np.signbit(punishment[0])


@given(st.integers(1, 1000), st.integers(0, 1000), st.integers(0, 3000))
def test_soft_overlong_punishment_follows_the_paper_case_by_case(cache, free, length):
    longest = cache + free
    if length <= longest - cache:
        expected = 0.0
    elif length <= longest:
        expected = ((longest - cache) - length) / cache
    else:
        expected = -1.0
    assert soft_overlong_punishment(length, longest, cache) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("longest", "cache"), [(10, 0), (10, -1), (10, 11), (0, 0)])
def test_impossible_lengths_are_refused(longest, cache):
    with pytest.raises(ValueError, match="cache_length"):
        soft_overlong_punishment([1], longest, cache)


def test_truncated_responses_count_only_where_configured():
    correct, truncated = [True, True, False, False], [False, True, False, True]
    assert counts_as_correct(correct, truncated, truncated_can_be_correct=False).tolist() == [
        True,
        False,
        False,
        False,
    ]
    allowed = counts_as_correct(correct, truncated, truncated_can_be_correct=True)
    assert allowed.tolist() == correct
    with pytest.raises(ValueError, match="shape"):
        counts_as_correct([True], [True, False], truncated_can_be_correct=False)


def test_overlong_filter_keeps_finished_samples():
    assert overlong_filter([False, True, False]).tolist() == [True, False, True]
