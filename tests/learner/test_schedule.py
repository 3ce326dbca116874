"""Learning-rate schedules by hand and as properties."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.config import LearnerConfig
from rlvr.learner.schedule import learning_rate


def rates(total: int, **options: object) -> list[float]:
    """The learning rate of every update."""
    cfg = LearnerConfig(lr=1.0, **options)
    return [learning_rate(cfg, update, total) for update in range(total)]


def test_by_hand():
    assert rates(4) == [1, 1, 1, 1]
    assert rates(5, warmup_updates=2) == pytest.approx([0.5, 1, 1, 1, 1])
    assert rates(4, schedule="linear") == pytest.approx([1, 0.75, 0.5, 0.25])
    assert rates(6, schedule="linear", warmup_updates=2) == pytest.approx([0.5, 1, 1, 0.75, 0.5, 0.25])
    assert rates(4, schedule="cosine") == pytest.approx([1, 0.8535533905932737, 0.5, 0.14644660940672627])


@given(
    schedule=st.sampled_from(["constant", "linear", "cosine"]),
    total=st.integers(1, 50),
    warmup=st.integers(0, 60),
)
def test_rises_then_never_rises_again_and_stays_positive(schedule, total, warmup):
    found = rates(total, schedule=schedule, warmup_updates=warmup)
    assert all(0 < rate <= 1 for rate in found)
    rising, after = found[:warmup], found[warmup:]
    assert rising == sorted(rising)
    assert after == sorted(after, reverse=True)
    assert not after or after[0] == 1


def test_beyond_the_end_is_zero_not_negative():
    for schedule, warmup in itertools.product(("linear", "cosine"), (0, 9, 10)):
        cfg = LearnerConfig(lr=1.0, schedule=schedule, warmup_updates=warmup)
        assert learning_rate(cfg, 11, 10) == pytest.approx(0, abs=1e-12)
