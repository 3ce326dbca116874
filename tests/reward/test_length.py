"""Length rewards: values by hand, and what a failed verifier leaves out."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rlvr.reward.length import LENGTH_REWARDS, OFF, length_reward

LENGTHS = np.asarray([10.0, 30.0, 50.0, 20.0])
CORRECT = np.asarray([True, True, False, False])
ALL = np.ones(4, dtype=bool)


def test_kimi_by_hand():
    # lambda = 1/2 - (len - 10) / 40: 0.5, 0, -0.5, 0.25; wrong ones never gain.
    np.testing.assert_allclose(
        length_reward("kimi", LENGTHS, CORRECT, ALL, 0.5, 1.0), [0.25, 0.0, -0.25, 0.0]
    )
    np.testing.assert_array_equal(length_reward("kimi", [7, 7], CORRECT[:2], ALL[:2], 0.5, 1.0), [0.0, 0.0])


def test_efficient_by_hand():
    # Right ones: mean 20, deviation 10, so z = -1 and 1; span 2 (correct 1, incorrect -1), alpha 0.4.
    low, high = 1 / (1 + math.e), 1 / (1 + math.exp(-1))
    found = length_reward("efficient", LENGTHS, CORRECT, ALL, 0.4, 2.0)
    np.testing.assert_allclose(found, [-0.8 * low, -0.8 * high, 0, 0])
    np.testing.assert_allclose(
        length_reward("efficient", [7, 7], CORRECT[:2], ALL[:2], 0.4, 1.0), [-0.2, -0.2]
    )
    assert not length_reward("efficient", LENGTHS, ~ALL, ALL, 0.4, 1.0).any()


@pytest.mark.parametrize("kind", LENGTH_REWARDS)
def test_failed_samples_earn_nothing_and_count_nowhere(kind):
    known = np.asarray([True, True, False, True])
    found = length_reward(kind, LENGTHS, CORRECT, known, 0.4, 1.0)
    assert found[2] == 0
    alone = length_reward(kind, LENGTHS[known], CORRECT[known], ALL[:3], 0.4, 1.0)
    np.testing.assert_array_equal(found[known], alone)


def test_off_and_nothing_known_change_nothing():
    assert not length_reward(OFF, LENGTHS, CORRECT, ALL, 0.4, 1.0).any()
    assert not length_reward("kimi", LENGTHS, CORRECT, ~ALL, 0.4, 1.0).any()
