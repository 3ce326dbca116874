"""KL estimators by exact expectation, clip-higher, rollout correction, and policies far apart."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlvr.config import LossConfig
from rlvr.errors import PluginError
from rlvr.learner.loss import KL_ESTIMATORS, LossInput, policy_loss
from tests.helpers.loss_cases import EVERY_LOSS, OBJECTIVES, gradient, one_token

# KL estimators


@given(st.floats(-30, 30))
def test_k3_and_k2_are_never_negative(gap):
    log_ratio = torch.tensor([gap], dtype=torch.float64)
    assert KL_ESTIMATORS["k3"](log_ratio).item() >= 0
    assert KL_ESTIMATORS["k2"](log_ratio).item() >= 0
    for kind in KL_ESTIMATORS.values():
        assert kind(torch.zeros(1)).item() == 0


@given(st.lists(st.tuples(st.floats(0.05, 1), st.floats(0.05, 1)), min_size=2, max_size=6))
def test_k1_and_k3_have_the_exact_kl_as_expectation(masses):
    p, q = (torch.tensor(side, dtype=torch.float64) for side in zip(*masses, strict=True))
    p, q = p / p.sum(), q / q.sum()
    exact = (p * (p.log() - q.log())).sum().item()
    for name in ("k1", "k3"):
        mean = (p * KL_ESTIMATORS[name](p.log() - q.log())).sum().item()
        assert mean == pytest.approx(exact, abs=1e-12)


@pytest.mark.parametrize(
    ("kind", "towards_base"), [("k1", True), ("k2", True), ("k3", False), ("k3 times the ratio", True)]
)
def test_the_gradients_of_kl_estimates_have_these_divergences_gradients_as_expectation(kind, towards_base):
    """At the policy p that sampled: k3's is that of KL(base || p), the others' that of KL(p || base)."""
    generator = torch.Generator().manual_seed(0)
    logits, base = torch.randn(2, 7, generator=generator, dtype=torch.float64)
    logits.requires_grad_(True)
    p, q = logits.log_softmax(-1), base.log_softmax(-1)
    estimate = KL_ESTIMATORS[kind[:2]](p - q)
    if "ratio" in kind:  # TRL's use_bias_correction_kl (DeepSeek-V3.2, arXiv 2512.02556, section 3.1)
        estimate = torch.exp(p - p.detach()) * estimate
    (found,) = torch.autograd.grad((p.detach().exp() * estimate).sum(), logits, retain_graph=True)
    exact = (p.exp() * (p - q)).sum() if towards_base else (q.exp() * (q - p)).sum()
    torch.testing.assert_close(found, torch.autograd.grad(exact, logits)[0], rtol=0, atol=1e-12)


def test_k2_is_half_the_square():
    np.testing.assert_allclose(KL_ESTIMATORS["k2"](torch.tensor([0.0, 1.0, -3.0])), [0, 0.5, 4.5])


@pytest.mark.parametrize("kind", ["k2", "k3"])
def test_kl_penalty_pulls_towards_the_base(kind):
    cfg = LossConfig(kl=kind, kl_coef=0.1)
    above = one_token(1.0, 0.0, base_logp=torch.tensor([-2.0], dtype=torch.float64))
    below = one_token(1.0, 0.0, base_logp=torch.tensor([-0.5], dtype=torch.float64))
    assert gradient(above, cfg).item() > 0  # descent lowers the log-prob that lies above the base's
    assert gradient(below, cfg).item() < 0


def test_kl_old_is_the_k3_estimate_towards_the_current_policy():
    tokens = one_token(math.e, 1.0)  # log-ratio 1: KL(old || current) estimate e^1 - 1 - 1
    assert policy_loss(tokens, LossConfig()).kl_old.item() == pytest.approx(math.e - 2)


@pytest.mark.parametrize("alike", [True, False])
@pytest.mark.parametrize("kl_in", ["loss", "reward"])
def test_what_is_logged_counts_every_loss_token_alike_where_told_to(kl_in, alike):
    """Ratios 1.5 and 0.5, both held; weights of the loss 3 and 1. A penalty of the reward is logged, not lost twice."""
    tokens = LossInput(
        logp=torch.tensor([math.log(1.5) - 1, math.log(0.5) - 1], dtype=torch.float64, requires_grad=True),
        old_logp=torch.full((2,), -1.0, dtype=torch.float64),
        advantage=torch.tensor([1.0, -1.0], dtype=torch.float64),
        loss_weight=torch.tensor([3.0, 1.0], dtype=torch.float64),
        sequence=torch.tensor([0, 1]),
        base_logp=torch.tensor([-2.0, -1.0], dtype=torch.float64),
        metric_weight=torch.tensor([0.25, 0.5], dtype=torch.float64) if alike else None,
    )
    terms = policy_loss(tokens, LossConfig(clip_low=0.2, clip_high=0.3, kl="k2", kl_coef=0.1, kl_in=kl_in))
    first, second = (0.25, 0.5) if alike else (3, 1)
    penalties = (math.log(1.5) + 1) ** 2 / 2, math.log(0.5) ** 2 / 2
    old = 0.5 - math.log(1.5), -0.5 - math.log(0.5)
    assert (terms.clip_low.item(), terms.clip_high.item()) == (second, first)
    assert terms.kl_base.item() == pytest.approx(first * penalties[0] + second * penalties[1])
    assert terms.kl_old.item() == pytest.approx(first * old[0] + second * old[1])
    charged = 0.1 * (3 * penalties[0] + penalties[1]) if kl_in == "loss" else 0.0
    assert terms.loss.item() == pytest.approx(-3 * 1.3 + 0.8 + charged)


def test_an_objective_of_ones_own_gives_one_number_for_each_token():
    with pytest.raises(PluginError, match=r"loss\.objective=.*the shape \(\), expected \(1,\)"):
        policy_loss(one_token(1.0, 1.0), LossConfig(objective="tests.helpers.user_plugins:summed_up"))


# Clip-higher, rollout correction, extremes


def test_clip_higher_frees_only_rising_tokens():
    usual, higher = LossConfig(clip_low=0.2, clip_high=0.2), LossConfig(clip_low=0.2, clip_high=0.28)
    rising, falling = one_token(1.25, 1.0), one_token(0.75, -1.0)
    assert gradient(rising, usual).item() == 0
    assert gradient(rising, higher).item() == pytest.approx(-1.25)
    assert gradient(falling, usual).item() == gradient(falling, higher).item() == 0
    terms = policy_loss(rising, usual)
    assert (terms.clip_high.item(), terms.clip_low.item()) == (1.0, 0.0)
    assert policy_loss(rising, higher).clip_high.item() == 0
    assert policy_loss(falling, higher).clip_low.item() == 1
    # A bound that does not hold the gradient back is not counted.
    assert policy_loss(one_token(1.5, -1.0), usual).clip_high.item() == 0


@pytest.mark.parametrize("advantage", [1.0, -1.0])
def test_cispo_counts_every_clipped_ratio(advantage):
    cfg = LossConfig(objective="cispo", clip_low=0.2, clip_high=0.3)
    for ratio, held in ((0.5, (1, 0)), (1.0, (0, 0)), (1.5, (0, 1))):
        terms = policy_loss(one_token(ratio, advantage), cfg)
        assert (terms.clip_low.item(), terms.clip_high.item()) == held


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_rollout_correction_is_capped_and_detached(objective):
    rollout = torch.tensor([-3.0], dtype=torch.float64, requires_grad=True)
    plain = one_token(1.1, 2.0)
    tokens = replace(plain, rollout_logp=rollout)
    without = LossConfig(objective=objective)
    with_cap = replace(without, rollout_correction=2.0)  # exp(-1 + 3) = 7.4, so the cap holds
    assert gradient(tokens, with_cap).item() == pytest.approx(2 * gradient(plain, without).item())
    near = replace(plain, rollout_logp=torch.tensor([-0.5], dtype=torch.float64))
    assert gradient(near, with_cap).item() == pytest.approx(math.exp(-0.5) * gradient(plain, without).item())
    policy_loss(tokens, with_cap).loss.backward()
    assert rollout.grad is None


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_masked_correction_learns_from_no_token_beyond_the_cap(objective):
    without = LossConfig(objective=objective)
    mask = replace(without, rollout_correction=2.0, rollout_correction_mode="mask")
    cut = replace(mask, rollout_correction_mode="truncate")
    plain = one_token(1.1, 2.0)
    for log_gap, factor in ((math.log(2.5), 0.0), (math.log(1.9), 1.9), (-0.5, math.exp(-0.5))):
        tokens = replace(plain, rollout_logp=torch.tensor([-1.0 - log_gap], dtype=torch.float64))
        found = gradient(tokens, mask).item()
        assert found == pytest.approx(factor * gradient(plain, without).item())
        assert (found == pytest.approx(gradient(tokens, cut).item())) == (factor > 0)


def test_missing_log_probs_are_named():
    with pytest.raises(ValueError, match=r"loss\.kl"):
        policy_loss(one_token(1.0, 1.0), LossConfig(kl="k3", kl_coef=0.1))
    with pytest.raises(ValueError, match=r"loss\.rollout_correction"):
        policy_loss(one_token(1.0, 1.0), LossConfig(rollout_correction=2.0))


@pytest.mark.parametrize(("objective", "ratio", "kl"), EVERY_LOSS)
def test_far_apart_policies_stay_finite(objective, ratio, kl):
    cfg = LossConfig(objective=objective, ratio=ratio, kl=kl, kl_coef=0.0 if kl == "off" else 0.1)
    cfg = replace(cfg, rollout_correction=2.0)
    far = torch.tensor([-400.0, -0.1, -400.0, -0.1])
    tokens = LossInput(
        logp=far.clone().requires_grad_(),
        old_logp=far.flip(0),
        advantage=torch.tensor([1.0, -1.0, -1.0, 1.0]),
        loss_weight=torch.full((4,), 0.25),
        sequence=torch.tensor([0, 0, 1, 1]),
        rollout_logp=far,
        base_logp=far.flip(0),
    )
    terms = policy_loss(tokens, cfg)
    assert torch.isfinite(terms.loss)
    assert torch.isfinite(gradient(tokens, cfg)).all()
    assert torch.isfinite(terms.ratio_max)
