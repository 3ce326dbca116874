"""The KL penalty in the reward: before advantages are made, over whole responses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rlvr.advantage.group import group_advantage
from rlvr.config import AdvantageConfig, Config, LossConfig
from rlvr.learner.kl_reward import penalised_advantage, sequence_kl
from rlvr.learner.packing import pack
from rlvr.types import Batch, Group, TokenSignals
from tests.helpers.records import group


def scored(rewards: list[list[float]], estimator: str) -> tuple[tuple[Group, ...], Batch]:
    """Groups with responses of one to n tokens; at each token the policy is 0.5, 1.0, ... above the base."""
    groups = [group(f"g{i}", r, range(1, len(r) + 1)) for i, r in enumerate(rewards)]
    done = group_advantage(groups, AdvantageConfig(estimator=estimator))
    batch = pack(done)
    old = np.linspace(-2, -1, batch.tokens).astype(np.float32)
    gap = (0.5 * np.arange(1, batch.tokens + 1)).astype(np.float32)
    return done, replace(batch, signals=TokenSignals(old_logp=old, base_logp=old - gap))


def config(estimator: str, **loss: object) -> Config:
    return Config(recipe="t", advantage=AdvantageConfig(estimator=estimator), loss=LossConfig(**loss))


def test_by_hand():
    """Sums of log-ratios 0.5, 1.0 + 1.5, 2.0 + 2.5 + 3.0 are subtracted, times 0.1, from rewards 1, 0, 1."""
    groups, batch = scored([[1.0, 0.0, 1.0]], "dr_grpo")
    np.testing.assert_allclose(sequence_kl(batch, "k1"), [0.5, 2.5, 7.5], rtol=1e-6)
    cfg = config("dr_grpo", kl="k1", kl_coef=0.1, kl_in="reward")
    found, changed = penalised_advantage(groups, batch, cfg)
    rewards = np.asarray([1 - 0.05, 0 - 0.25, 1 - 0.75])
    np.testing.assert_allclose(changed.advantage, rewards - rewards.mean(), rtol=1e-5)
    assert [s.advantage for s in found[0].samples] == pytest.approx(changed.advantage.tolist())
    assert [s.reward for s in found[0].samples] == [1.0, 0.0, 1.0]  # the verifier's
    np.testing.assert_array_equal(changed.reward, batch.reward)


def test_in_the_loss_nothing_changes():
    groups, batch = scored([[1.0, 0.0, 1.0]], "grpo")
    found, same = penalised_advantage(groups, batch, config("grpo", kl="k3", kl_coef=0.1))
    assert same is batch
    assert found == groups


@pytest.mark.parametrize("estimator", ["grpo", "rloo", "gpg", "dr_grpo"])
def test_it_is_the_estimator_of_rewards_less_the_penalty(estimator):
    """Over several groups, one of them with a sample on which the verifier failed."""
    groups, batch = scored([[1.0, 0.0], [float("nan"), 1.0, 0.0]], estimator)
    cfg = config(estimator, kl="k2", kl_coef=0.3, kl_in="reward")
    _, changed = penalised_advantage(groups, batch, cfg)
    gaps = np.asarray(batch.signals.old_logp - batch.signals.base_logp, dtype=np.float64)
    penalty = [
        (gaps[start:stop] ** 2 / 2).sum()
        for start, stop in zip(batch.offsets[:-1], batch.offsets[1:], strict=True)
    ]
    by_hand = [
        replace(g, samples=tuple(replace(s, reward=s.reward - 0.3 * penalty.pop(0)) for s in g.samples))
        for g in groups
    ]
    expected = [s.advantage for g in group_advantage(by_hand, cfg.advantage) for s in g.samples]
    np.testing.assert_allclose(changed.advantage, expected, rtol=1e-4)
    assert changed.advantage[2] == 0  # of the failed one


@pytest.mark.parametrize("lacking", ["old_logp", "base_logp"])
def test_an_unscored_batch_is_refused(lacking):
    groups, batch = scored([[1.0, 0.0]], "grpo")
    with pytest.raises(ValueError, match="kl_in=reward"):
        penalised_advantage(
            groups,
            replace(batch, signals=replace(batch.signals, **{lacking: None})),
            config("grpo", kl="k1", kl_coef=1.0, kl_in="reward"),
        )
