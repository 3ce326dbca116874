"""The surrogate losses against values by hand, a plain float64 re-computation, and exact expectations."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlvr.config import LossConfig
from rlvr.learner.loss import KL_ESTIMATORS, LossInput, policy_loss, sequence_mean
from unit.records import random_tokens

SUPERVISED = "nll"
OBJECTIVES, RATIOS, KLS = ("clip", "cispo"), ("token", "sequence"), ("off", "k1", "k2", "k3")
EVERY_LOSS = [*itertools.product(OBJECTIVES, RATIOS, KLS), *itertools.product([SUPERVISED], ["token"], KLS)]


def one_token(ratio: float, advantage: float, weight: float = 1.0, **others: torch.Tensor) -> LossInput:
    """A single token with this importance ratio."""
    return LossInput(
        logp=torch.tensor([math.log(ratio) - 1.0], dtype=torch.float64, requires_grad=True),
        old_logp=torch.tensor([-1.0], dtype=torch.float64),
        advantage=torch.tensor([advantage], dtype=torch.float64),
        weight=torch.tensor([weight], dtype=torch.float64),
        sequence=torch.tensor([0]),
        **others,
    )


def gradient(tokens: LossInput, cfg: LossConfig) -> torch.Tensor:
    """d loss / d logp."""
    return torch.autograd.grad(policy_loss(tokens, cfg).loss, tokens.logp)[0]


# Clip bounds 0.8 and 1.3. Loss -min(rA, clip(r)A); gradient -rA where the unclipped term is the minimum.
@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "slope"),
    [
        (1.0, 2.0, -2.0, -2.0),
        (1.2, 2.0, -2.4, -2.4),
        (1.5, 2.0, -2.6, 0.0),
        (0.5, 2.0, -1.0, -1.0),
        (1.5, -2.0, 3.0, 3.0),
        (0.9, -2.0, 1.8, 1.8),
        (0.5, -2.0, 1.6, 0.0),
        (0.5, 0.0, 0.0, 0.0),
    ],
)
def test_clip_by_hand(ratio, advantage, loss, slope):
    tokens = one_token(ratio, advantage)
    cfg = LossConfig(clip_low=0.2, clip_high=0.3)
    assert policy_loss(tokens, cfg).loss.item() == pytest.approx(loss, abs=1e-12)
    assert gradient(tokens, cfg).item() == pytest.approx(slope, abs=1e-12)


@pytest.mark.parametrize(("ratio", "held"), [(0.5, 0.8), (0.9, 0.9), (1.0, 1.0), (1.5, 1.3)])
@pytest.mark.parametrize("advantage", [2.0, -2.0])
def test_cispo_by_hand(ratio, held, advantage):
    tokens = one_token(ratio, advantage)
    cfg = LossConfig(objective="cispo", clip_low=0.2, clip_high=0.3)
    logp = math.log(ratio) - 1.0
    assert policy_loss(tokens, cfg).loss.item() == pytest.approx(-held * advantage * logp, abs=1e-12)
    # No token's gradient is ever zero: that is what CISPO is for.
    assert gradient(tokens, cfg).item() == pytest.approx(-held * advantage, abs=1e-12)


def test_supervised_loss_is_the_weighted_negative_log_likelihood():
    tokens = random_tokens([3, 2], seed=8)
    cfg = LossConfig(objective=SUPERVISED)
    expected = -(tokens.logp.detach() * tokens.weight).sum().item()
    assert policy_loss(tokens, cfg).loss.item() == pytest.approx(expected)
    torch.testing.assert_close(gradient(tokens, cfg), -tokens.weight)
    other = replace(tokens, advantage=-5 * tokens.advantage)
    assert policy_loss(other, cfg).loss.item() == pytest.approx(expected)


def test_sequence_ratio_by_hand():
    # Log-ratios 0.1 and -0.3 in sequence 7, mean -0.1; 0.2 alone in sequence 3.
    tokens = LossInput(
        logp=torch.tensor([-0.9, -1.3, -0.8], dtype=torch.float64, requires_grad=True),
        old_logp=torch.full((3,), -1.0, dtype=torch.float64),
        advantage=torch.tensor([1.0, 1.0, 2.0], dtype=torch.float64),
        weight=torch.full((3,), 0.5, dtype=torch.float64),
        sequence=torch.tensor([7, 7, 3]),
    )
    cfg = LossConfig(ratio="sequence", clip_low=0.2, clip_high=0.3)
    first, second = math.exp(-0.1), math.exp(0.2)
    assert policy_loss(tokens, cfg).loss.item() == pytest.approx(-(first + first + 2 * second) / 2)
    # The ratio is the sequence's, the gradient the token's own (GSPO-token).
    np.testing.assert_allclose(gradient(tokens, cfg), [-first / 2, -first / 2, -second])
    held = policy_loss(tokens, replace(cfg, clip_high=0.1))
    assert held.loss.item() == pytest.approx(-(first + first + 2 * 1.1) / 2)
    assert held.clip_high.item() == pytest.approx(0.5)


def test_sequence_mean_keeps_tokens_in_place():
    values = torch.tensor([1.0, 10.0, 3.0, 20.0, 5.0])
    found = sequence_mean(values, torch.tensor([9, 2, 9, 2, 9]))
    np.testing.assert_allclose(found, [3, 15, 3, 15, 3])
    assert sequence_mean(torch.zeros(0), torch.zeros(0, dtype=torch.int64)).shape == (0,)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("ratio", RATIOS)
def test_at_the_old_policy_the_gradient_is_the_plain_policy_gradient(objective, ratio):
    tokens = random_tokens([3, 5, 1], seed=1)
    tokens = replace(tokens, logp=tokens.old_logp.clone().requires_grad_())
    found = gradient(tokens, LossConfig(objective=objective, ratio=ratio))
    torch.testing.assert_close(found, -tokens.advantage * tokens.weight)
    terms = policy_loss(tokens, LossConfig(objective=objective, ratio=ratio))
    assert (terms.clip_low, terms.clip_high, terms.kl_old) == (0, 0, 0)
    assert terms.ratio_max == 1


def plain_loss(tokens: LossInput, cfg: LossConfig) -> float:
    """The same objective written out token by token in Python floats."""
    logp, old, base = (x.tolist() for x in (tokens.logp.detach(), tokens.old_logp, tokens.base_logp))
    sequence, total = tokens.sequence.tolist(), 0.0
    for t in range(len(logp)):
        log_ratio = logp[t] - old[t]
        if cfg.ratio == "sequence":
            own = [logp[u] - old[u] for u in range(len(logp)) if sequence[u] == sequence[t]]
            log_ratio = sum(own) / len(own)
        ratio, advantage = math.exp(log_ratio), tokens.advantage[t].item()
        clipped = min(max(ratio, 1 - cfg.clip_low), 1 + cfg.clip_high)
        value = min(ratio * advantage, clipped * advantage)
        if cfg.objective == "cispo":
            value = clipped * advantage * logp[t]
        if cfg.objective == SUPERVISED:
            value = logp[t]
        if cfg.rollout_correction is not None:
            value *= min(math.exp(old[t] - tokens.rollout_logp[t].item()), cfg.rollout_correction)
        gap = logp[t] - base[t]
        penalty = {"off": 0.0, "k1": gap, "k2": gap * gap / 2, "k3": math.exp(-gap) - 1 + gap}[cfg.kl]
        total += tokens.weight[t].item() * (cfg.kl_coef * penalty - value)
    return total


@pytest.mark.parametrize(("objective", "ratio", "kl"), EVERY_LOSS)
@pytest.mark.parametrize("correction", [None, 1.2])
def test_loss_equals_the_plain_recomputation(objective, ratio, kl, correction):
    cfg = LossConfig(
        objective=objective,
        ratio=ratio,
        clip_high=0.28,
        kl=kl,
        kl_coef=0.0 if kl == "off" else 0.3,
        rollout_correction=correction,
    )
    tokens = random_tokens([4, 1, 7], seed=2)
    assert policy_loss(tokens, cfg).loss.item() == pytest.approx(plain_loss(tokens, cfg), rel=1e-12)
    single = random_tokens([4, 1, 7], seed=2, dtype=torch.float32)
    assert policy_loss(single, cfg).loss.item() == pytest.approx(plain_loss(tokens, cfg), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("kl", KLS)
def test_clip_gradient_equals_finite_differences(ratio, kl):
    """With a sequence ratio the whole gradient of a sequence's tokens is the derivative of the loss along it."""
    cfg = LossConfig(ratio=ratio, kl=kl, kl_coef=0.0 if kl == "off" else 0.5)
    tokens = random_tokens([3, 2], seed=5)
    found, step = gradient(tokens, cfg), 1e-6
    blocks = [[t] for t in range(5)] if ratio == "token" else [[0, 1, 2], [3, 4]]
    for block in blocks:
        direction = torch.zeros(5, dtype=torch.float64)
        direction[block] = step
        high = policy_loss(replace(tokens, logp=tokens.logp.detach() + direction), cfg).loss
        low = policy_loss(replace(tokens, logp=tokens.logp.detach() - direction), cfg).loss
        assert found[block].sum().item() == pytest.approx(
            (high - low).item() / (2 * step), rel=1e-5, abs=1e-8
        )


@given(
    lengths=st.lists(st.integers(0, 5), min_size=1, max_size=6),
    cut=st.integers(0, 6),
    which=st.sampled_from(EVERY_LOSS),
    seed=st.integers(0, 1000),
)
def test_loss_and_gradient_add_up_over_micro_batches(lengths, cut, which, seed):
    objective, ratio, kl = which
    cfg = LossConfig(
        objective=objective,
        ratio=ratio,
        kl=kl,
        kl_coef=0.0 if kl == "off" else 0.1,
        rollout_correction=1.5,
    )
    whole = random_tokens(lengths, seed=seed)
    border = sum(lengths[:cut])
    terms, expected = policy_loss(whole, cfg), gradient(whole, cfg)
    parts = []
    for part in (slice(0, border), slice(border, None)):
        values = {name: getattr(whole, name) for name in LossInput.__dataclass_fields__}
        fields = {name: value if value is None else value[part] for name, value in values.items()}
        fields["logp"] = fields["logp"].detach().requires_grad_()
        parts.append(LossInput(**fields))
    split = [policy_loss(part, cfg) for part in parts]
    for name in ("loss", "clip_low", "clip_high", "kl_old", "kl_base"):
        total = sum(getattr(t, name).item() for t in split)
        assert total == pytest.approx(getattr(terms, name).item(), abs=1e-12)
    assert max(t.ratio_max.item() for t in split) == terms.ratio_max.item()
    torch.testing.assert_close(torch.cat([gradient(p, cfg) for p in parts]), expected)


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
        weight=torch.full((4,), 0.25),
        sequence=torch.tensor([0, 0, 1, 1]),
        rollout_logp=far,
        base_logp=far.flip(0),
    )
    terms = policy_loss(tokens, cfg)
    assert torch.isfinite(terms.loss)
    assert torch.isfinite(gradient(tokens, cfg)).all()
    assert torch.isfinite(terms.ratio_max)
