"""Group estimators on groups computed by hand, and what must hold for all of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.advantage.group import ESTIMATORS, group_advantage
from rlvr.config import Config
from rlvr.errors import ConfigError
from rlvr.validate import validate
from unit.records import group

WITHIN_GROUP = ["grpo", "dr_grpo", "rloo"]
REWARDS = st.lists(st.floats(-4, 4, width=16), min_size=2, max_size=12)


def advantages(estimator: str, *rewards: list[float]) -> list[list[float]]:
    """The advantages of groups with these rewards."""
    groups = [group(f"g{i}", values) for i, values in enumerate(rewards)]
    return [[s.advantage for s in g.samples] for g in group_advantage(groups, estimator)]


@pytest.mark.parametrize(
    ("estimator", "rewards", "expected"),
    [
        ("grpo", [1, 0, 0, 0], [1.7320508, -0.5773503, -0.5773503, -0.5773503]),  # mean 1/4, std sqrt(3)/4
        ("grpo", [1, 0], [1, -1]),
        ("grpo", [2, 4, 6], [-1.2247449, 0, 1.2247449]),
        ("dr_grpo", [1, 0, 0, 0], [0.75, -0.25, -0.25, -0.25]),
        ("dr_grpo", [2, 4, 6], [-2, 0, 2]),
        ("rloo", [1, 0, 0, 0], [1, -1 / 3, -1 / 3, -1 / 3]),
        ("rloo", [2, 4, 6], [-3, 0, 3]),
        ("rloo", [5], [5]),
    ],
)
def test_by_hand(estimator, rewards, expected):
    assert advantages(estimator, rewards)[0] == pytest.approx(expected, abs=1e-5)


def test_reinforce_pp_whitens_over_the_batch():
    # Group means 1/2 and 0 leave 1/2, -1/2, 0, 0: mean 0, standard deviation sqrt(1/8).
    found = advantages("reinforce_pp", [1, 0], [0, 0])
    assert found[0] == pytest.approx([2**0.5, -(2**0.5)], abs=1e-5)
    assert found[1] == pytest.approx([0, 0])


@given(groups=st.lists(REWARDS, min_size=1, max_size=5))
def test_reinforce_pp_has_mean_zero_and_variance_one(groups):
    flat = np.concatenate(advantages("reinforce_pp", *groups))
    assert flat.mean() == pytest.approx(0, abs=1e-5)
    assert flat.std() == pytest.approx(1, abs=1e-4) or not flat.any()


@pytest.mark.parametrize("estimator", ESTIMATORS)
@given(reward=st.floats(-20, 20), size=st.integers(2, 40))
def test_equal_rewards_give_exactly_zero(estimator, reward, size):
    assert not np.any(advantages(estimator, [reward] * size))


@pytest.mark.parametrize("estimator", ESTIMATORS)
@given(rewards=REWARDS, shift=st.integers(-8, 8))
def test_a_constant_added_to_all_rewards_changes_nothing(estimator, rewards, shift):
    # Half-precision rewards plus a small integer are exact in fp32.
    moved = [r + shift for r in rewards]
    if np.float32(moved).tolist() != moved:
        return
    assert advantages(estimator, moved)[0] == pytest.approx(advantages(estimator, rewards)[0], abs=1e-3)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@given(rewards=REWARDS)
def test_advantages_of_a_group_sum_to_zero_and_keep_the_order(estimator, rewards):
    found = np.asarray(advantages(estimator, rewards)[0])
    assert found.sum() == pytest.approx(0, abs=1e-3)
    order = np.argsort(rewards)
    assert (np.diff(found[order]) >= -1e-6).all()


@pytest.mark.parametrize("estimator", WITHIN_GROUP)
def test_other_groups_do_not_matter(estimator):
    alone = advantages(estimator, [1, 0, 0.5])[0]
    assert advantages(estimator, [1, 0, 0.5], [9, -9])[0] == alone


def test_groups_are_returned_as_new_records():
    before = (group("a", [1, 0]), group("b", [0.5]))
    after = group_advantage(before, "dr_grpo")
    assert np.isnan(before[0].samples[0].advantage)
    assert [s.id for g in after for s in g.samples] == [s.id for g in before for s in g.samples]
    assert [s.reward for g in after for s in g.samples] == [1, 0, 0.5]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_one_sample_a_prompt_is_allowed_only_where_it_can_teach_something(estimator):
    cfg = Config(recipe="test")
    cfg.rollout.samples_per_prompt, cfg.data.prompts_per_step = 1, 8
    cfg.advantage.estimator = estimator
    if np.any(advantages(estimator, [1.0], [0.0])):
        validate(cfg)
    else:
        with pytest.raises(ConfigError, match=r"rollout\.samples_per_prompt=1"):
            validate(cfg)
