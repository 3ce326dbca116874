"""How many groups batches can take in time, and how many of those under way may carry a signal."""

from __future__ import annotations

import pytest
from scipy.stats import binom

from rlvr.rollout.streaming.bound import Acceptance, last_step, overbooked


def noted(*signals: bool) -> Acceptance:
    acceptance = Acceptance()
    for signal in signals:
        acceptance.note(signal)
    return acceptance


def test_a_token_is_fresh_in_the_next_step_and_allowed_so_many_steps_longer() -> None:
    assert [last_step(4, staleness) for staleness in (0, 1, 3)] == [5, 6, 8]


@pytest.mark.parametrize("undecided", [0, 1, 4, 50])
def test_the_groups_that_may_carry_a_signal_are_their_expected_number_and_two_deviations(
    undecided: int,
) -> None:
    assert noted().at_most(undecided) == undecided
    acceptance = noted(*[True] * 6, *[False] * 26)
    spread = binom(undecided, (6 + 8) / (32 + 8))  # it begins with eight that had one
    assert acceptance.at_most(undecided) == pytest.approx(min(undecided, spread.mean() + 2 * spread.std()))


def test_the_share_is_that_of_the_last_256_groups() -> None:
    late = noted(*[False] * 300, *[True] * 256)
    assert late.at_most(1000) == 1000
    early = noted(*[True] * 300, *[False] * 256)
    spread = binom(1000, 8 / (256 + 8))
    assert early.at_most(1000) == pytest.approx(spread.mean() + 2 * spread.std())


@pytest.mark.parametrize(
    ("ready", "undecided", "expected"),
    [
        ({5: 2, 6: 2}, {}, None),  # steps 5 and 6 take two each
        ({5: 3}, {}, 5),
        ({5: 1, 6: 3}, {}, None),  # a later one may be taken earlier
        ({6: 5}, {}, 6),
        ({5: 1}, {5: 1, 6: 2}, None),
        ({5: 1}, {5: 1, 6: 3}, 6),
        ({}, {4: 1}, 4),  # its last step is over
        ({4: 0}, {7: 6}, None),
    ],
)
def test_earliest_last_steps_first_take_all_that_can_be_taken(ready, undecided, expected) -> None:
    """Batches of two from step 5 on, where every group so far had a signal."""
    assert overbooked(ready, undecided, 5, 2, noted(True)) == expected
