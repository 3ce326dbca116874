"""Group estimators on groups computed by hand, and what must hold for all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr.advantage.group import ESTIMATORS, group_advantage
from rlvr.advantage.group.gpg import gpg
from rlvr.config import AdvantageConfig, Config
from rlvr.errors import ConfigError, PluginError
from rlvr.validate import validate
from tests.helpers.records import group

WITHIN_GROUP = ["grpo", "dr_grpo", "rloo"]
WITH_BASELINE = sorted(ESTIMATORS.keys() - {"reinforce"})  # or without any advantage at all
OVER_THE_BATCH = ["reinforce_pp_global", "reinforce_pp_baseline", "reinforce_pp_samples"]
EACH = settings(max_examples=20)  # where every estimator is tried on examples of its own
NAN = float("nan")
REWARDS = st.lists(st.floats(-4, 4, width=16), min_size=2, max_size=12)


def advantages(
    estimator: str, *rewards: list[float], lengths: Sequence[list[int]] | None = None, ddof: int = 0
) -> list[list[float]]:
    """The advantages of groups with these rewards, of responses of two tokens or these lengths."""
    groups = [
        group(f"g{i}", values, None if lengths is None else lengths[i]) for i, values in enumerate(rewards)
    ]
    cfg = AdvantageConfig(estimator=estimator, ddof=ddof)
    return [[s.advantage for s in g.samples] for g in group_advantage(groups, cfg)]


@pytest.mark.parametrize(
    ("estimator", "rewards", "expected"),
    [
        ("grpo", [1, 0, 0, 0], [1.7320508, -0.5773503, -0.5773503, -0.5773503]),  # mean 1/4, std sqrt(3)/4
        ("grpo", [1, 0], [1, -1]),
        ("grpo", [2, 4, 6], [-1.2247449, 0, 1.2247449]),
        ("grpo", [0, 2e-6], [-0.5, 0.5]),  # std 1e-6, as is the epsilon
        ("dr_grpo", [1, 0, 0, 0], [0.75, -0.25, -0.25, -0.25]),
        ("dr_grpo", [2, 4, 6], [-2, 0, 2]),
        ("rloo", [1, 0, 0, 0], [1, -1 / 3, -1 / 3, -1 / 3]),
        ("rloo", [2, 4, 6], [-3, 0, 3]),
        ("rloo", [5], [5]),
        ("none", [1, 0], [0, 0]),
    ],
)
def test_by_hand(estimator, rewards, expected):
    assert advantages(estimator, rewards)[0] == pytest.approx(expected, abs=1e-5)


def test_grpo_with_the_deviation_of_the_peers():
    # Mean 1/4, sum of squares 3/4: over n - 1 = 3 the deviation is 1/2.
    assert advantages("grpo", [1, 0, 0, 0], ddof=1)[0] == pytest.approx([1.5, -0.5, -0.5, -0.5], abs=1e-5)
    assert advantages("grpo", [1.0], ddof=1) == [[0.0]]


@given(rewards=REWARDS, ddof=st.sampled_from([0, 1]))
def test_grpo_is_torch_std_with_its_correction(rewards, ddof):
    values = torch.tensor(rewards, dtype=torch.float64)
    expected = (values - values.mean()) / (values.std(correction=ddof) + 1e-6)
    assert advantages("grpo", rewards, ddof=ddof)[0] == pytest.approx(expected.tolist(), rel=1e-6, abs=1e-7)


@pytest.mark.parametrize(
    ("estimator", "expected"),
    [
        # A' = 1/2 once and -1/2 nine times: mean -0.4, deviation 0.3.
        ("reinforce_pp_baseline", [3, -1 / 3]),
        # r = 1 once and 0 nine times: mean 0.1, deviation 0.3.
        ("reinforce_pp_global", [3, -1 / 3]),
        ("reinforce_pp_samples", [1, -1]),
        ("reinforce_pp", [1, -1]),  # the old name
    ],
)
def test_what_counts_once_in_reinforce_pp(estimator, expected):
    found = advantages(estimator, [1, 0], lengths=[[1, 9]])
    assert found[0] == pytest.approx(expected, abs=1e-5)


@given(rewards=REWARDS)
def test_reinforce_is_the_reward_itself(rewards):
    assert advantages("reinforce", rewards)[0] == pytest.approx(rewards)


def test_only_the_baseline_takes_out_how_hard_a_prompt_is():
    # Group means 1/2 and 0 leave 1/2, -1/2, 0, 0: mean 0, standard deviation sqrt(1/8).
    for estimator in ("reinforce_pp_samples", "reinforce_pp_baseline"):
        first, second = advantages(estimator, [1, 0], [0, 0])
        assert first == pytest.approx([2**0.5, -(2**0.5)], abs=1e-5)
        assert second == pytest.approx([0, 0])
    # Without it: mean 1/4, standard deviation sqrt(3)/4.
    first, second = advantages("reinforce_pp_global", [1, 0], [0, 0])
    assert first == pytest.approx([3**0.5, -(3**-0.5)], abs=1e-5)
    assert second == pytest.approx([-(3**-0.5)] * 2, abs=1e-5)


LENGTHS = st.lists(st.integers(1, 9), min_size=12, max_size=12)


@pytest.mark.slow
@given(groups=st.lists(st.tuples(REWARDS, LENGTHS), min_size=1, max_size=5))
@pytest.mark.parametrize("estimator", ["reinforce_pp_global", "reinforce_pp_baseline"])
def test_token_normalisation_is_the_published_one(estimator, groups):
    """Against a dense [responses, tokens] mask: one advantage a token, then masked mean and deviation."""
    rewards = [r for r, _ in groups]
    lengths = [n[: len(r)] for r, n in groups]
    shaped = [
        torch.tensor(r, dtype=torch.float64) - (np.mean(r) if estimator == "reinforce_pp_baseline" else 0.0)
        for r in rewards
    ]
    size = torch.tensor([n for own in lengths for n in own])
    mask = torch.arange(9)[None, :] < size[:, None]
    dense = torch.cat(shaped)[:, None].expand(-1, 9)
    mean = dense[mask].mean()
    expected = (dense - mean) * dense[mask].var(correction=0).clamp(min=1e-8).rsqrt()
    found = [a for own in advantages(estimator, *rewards, lengths=lengths) for a in own]
    if dense[mask].std(correction=0) > 1e-3:
        assert found == pytest.approx(expected[:, 0].tolist(), rel=1e-4, abs=1e-4)


@given(groups=st.lists(REWARDS, min_size=1, max_size=5))
@pytest.mark.parametrize("estimator", OVER_THE_BATCH)
def test_reinforce_pp_has_mean_zero_and_variance_one(estimator, groups):
    flat = np.concatenate(advantages(estimator, *groups))
    assert flat.mean() == pytest.approx(0, abs=1e-5)
    assert flat.std() == pytest.approx(1, abs=1e-4) or not flat.any()


# Failures of the verifier: reward nan


@pytest.mark.parametrize("estimator", ESTIMATORS)
@EACH
@given(groups=st.lists(st.tuples(REWARDS, st.lists(st.integers(0, 12), max_size=4)), min_size=1, max_size=4))
def test_failed_samples_count_in_no_baseline_and_no_deviation(estimator, groups):
    """The others get exactly what they would have got without them; a failed sample gets 0."""
    mixed = []
    for rewards, places in groups:
        mixed.append(list(rewards))
        for place in places:
            mixed[-1].insert(min(place, len(mixed[-1])), NAN)
    found = advantages(estimator, *mixed)
    assert all(
        a == 0 for own, g in zip(mixed, found, strict=True) for r, a in zip(own, g, strict=True) if r != r
    )
    left = [[a for r, a in zip(own, g, strict=True) if r == r] for own, g in zip(mixed, found, strict=True)]
    assert left == advantages(estimator, *[rewards for rewards, _ in groups])


@pytest.mark.parametrize("estimator", WITHIN_GROUP)
def test_who_is_left_alone_has_nothing_to_be_compared_with(estimator):
    assert advantages(estimator, [NAN, 1, NAN], [NAN, NAN]) == [[0, 0, 0], [0, 0]]


def test_a_batch_on_which_the_verifier_failed_throughout_teaches_nothing():
    for estimator in ESTIMATORS:
        assert advantages(estimator, [NAN, NAN], [NAN]) == [[0, 0], [0]]


@pytest.mark.parametrize(
    ("estimator", "expected"),
    [
        ("grpo", [1, 0, -1]),
        ("dr_grpo", [0.5, 0, -0.5]),
        ("rloo", [1, 0, -1]),
        ("reinforce_pp_samples", [1, 0, -1]),
    ],
)
def test_failed_by_hand(estimator, expected):
    assert advantages(estimator, [1, NAN, 0])[0] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("estimator", WITH_BASELINE)
@EACH
@given(reward=st.floats(-20, 20), size=st.integers(2, 40))
def test_equal_rewards_give_exactly_zero(estimator, reward, size):
    assert not np.any(advantages(estimator, [reward] * size))


@pytest.mark.parametrize("estimator", WITH_BASELINE)
@EACH
@given(rewards=REWARDS, shift=st.integers(-8, 8))
def test_a_constant_added_to_all_rewards_changes_nothing(estimator, rewards, shift):
    # Half-precision rewards plus a small integer are exact in fp32.
    moved = [r + shift for r in rewards]
    if np.float32(moved).tolist() != moved:
        return
    assert advantages(estimator, moved)[0] == pytest.approx(advantages(estimator, rewards)[0], abs=1e-3)


@pytest.mark.parametrize("estimator", WITH_BASELINE)
@EACH
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


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([], r"shapes \[\], expected one \[n\] array for each group: \[\(2,\)\]"),
        ([np.zeros(3)], r"shapes \[\(3,\)\]"),
        ([np.asarray([0.0, NAN])], "1 advantages are NaN or infinite"),
    ],
)
def test_what_an_estimator_may_not_return(found, said, monkeypatch):
    monkeypatch.setitem(ESTIMATORS, "faulty", lambda groups, cfg: found)
    with pytest.raises(PluginError, match=f"advantage.estimator=faulty: .*{said}"):
        group_advantage([group("a", [1, 0])], AdvantageConfig(estimator="faulty"))


def test_groups_are_returned_as_new_records():
    before = (group("a", [1, 0]), group("b", [0.5]))
    after = group_advantage(before, AdvantageConfig(estimator="dr_grpo"))
    assert np.isnan(before[0].samples[0].advantage)
    assert [s.id for g in after for s in g.samples] == [s.id for g in before for s in g.samples]
    assert [s.reward for g in after for s in g.samples] == [1, 0, 0.5]


@pytest.mark.parametrize("estimator", [name for name in ESTIMATORS if name != "none"])  # wants a teacher
def test_one_sample_a_prompt_is_allowed_only_where_it_can_teach_something(estimator):
    cfg = Config(recipe="test")
    cfg.rollout.samples_per_prompt, cfg.data.prompts_per_step = 1, 8
    cfg.advantage.estimator = estimator
    if np.any(advantages(estimator, [1.0], [0.0])):
        validate(cfg)
    else:
        with pytest.raises(ConfigError, match=r"rollout\.samples_per_prompt=1"):
            validate(cfg)


def test_gpg_by_hand():
    """Of 6 samples 2 are in a group of equal rewards: alpha = 6 / 4."""
    found = gpg([np.asarray([1.0, 0.0, 0.0, 1.0]), np.asarray([1.0, 1.0])])
    np.testing.assert_allclose(found[0], [0.75, -0.75, -0.75, 0.75])
    np.testing.assert_array_equal(found[1], [0.0, 0.0])
    np.testing.assert_array_equal(gpg([np.asarray([1.0, 1.0])])[0], [0.0, 0.0])
