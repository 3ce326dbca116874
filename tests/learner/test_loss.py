"""The surrogate losses against values by hand, a plain float64 re-computation, and split into micro-batches."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlvr.config import LossConfig
from rlvr.learner.correction import LEVELS
from rlvr.learner.loss import LossInput, policy_loss
from rlvr.learner.sequences import sequence_mean
from tests.helpers.loss_cases import (
    EVERY_LOSS,
    KLS,
    OBJECTIVES,
    OF_SEQUENCE,
    PUBLISHED,
    RATIOS,
    SUPERVISED,
    gradient,
    one_token,
)
from tests.helpers.records import random_tokens


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
    expected = -(tokens.logp.detach() * tokens.loss_weight).sum().item()
    assert policy_loss(tokens, cfg).loss.item() == pytest.approx(expected)
    torch.testing.assert_close(gradient(tokens, cfg), -tokens.loss_weight)
    terms = policy_loss(tokens, cfg)
    assert (terms.clip_low, terms.clip_high) == (0, 0)
    other = replace(tokens, advantage=-5 * tokens.advantage)
    assert policy_loss(other, cfg).loss.item() == pytest.approx(expected)


def test_sequence_ratio_by_hand():
    # Log-ratios 0.1 and -0.3 in sequence 7, mean -0.1; 0.2 alone in sequence 3.
    tokens = LossInput(
        logp=torch.tensor([-0.9, -1.3, -0.8], dtype=torch.float64, requires_grad=True),
        old_logp=torch.full((3,), -1.0, dtype=torch.float64),
        advantage=torch.tensor([1.0, 1.0, 2.0], dtype=torch.float64),
        loss_weight=torch.full((3,), 0.5, dtype=torch.float64),
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
    # One advantage a sequence, where some ratios and one objective take its tokens together.
    tokens = replace(tokens, advantage=sequence_mean(tokens.advantage, tokens.sequence))
    found = gradient(tokens, LossConfig(objective=objective, ratio=ratio))
    torch.testing.assert_close(found, -tokens.advantage * tokens.loss_weight)
    terms = policy_loss(tokens, LossConfig(objective=objective, ratio=ratio))
    assert (terms.clip_low, terms.clip_high, terms.kl_old) == (0, 0, 0)
    assert terms.ratio_max == 1


def geometric_mean(tokens: LossInput, together: list[int], low: float, high: float) -> float:
    """GMPO (arXiv 2507.20673): prod min(r^s, clip(r^s))^s to the power 1 / |o|, s the sign of the advantage."""
    product = 1.0
    for u in together:
        r, a = math.exp(tokens.logp[u].item() - tokens.old_logp[u].item()), tokens.advantage[u].item()
        product *= min(r, high) if a > 0 else 1 / min(1 / r, 1 / low)
    return product ** (1 / len(together))


def plain_loss(tokens: LossInput, cfg: LossConfig) -> float:
    """The same objective written out token by token in Python floats."""
    logp, old, base = (x.tolist() for x in (tokens.logp.detach(), tokens.old_logp, tokens.base_logp))
    sequence, total = tokens.sequence.tolist(), 0.0
    for t in range(len(logp)):
        log_ratio = logp[t] - old[t]
        together = [u for u in range(len(logp)) if sequence[u] == sequence[t]]
        if cfg.ratio != "token":
            log_ratio = sum(logp[u] - old[u] for u in together) / len(together)
        ratio, advantage = math.exp(log_ratio), tokens.advantage[t].item()
        bounds = 1 - cfg.clip_low, 1 + cfg.clip_high
        if cfg.objective == SUPERVISED:
            value = logp[t]
        elif cfg.objective == OF_SEQUENCE:
            value = advantage * geometric_mean(tokens, together, *bounds)
        else:
            value = PUBLISHED[cfg.objective](ratio, advantage, logp[t], old[t], *bounds)
        if cfg.rollout_correction is not None:
            value *= min(math.exp(old[t] - tokens.rollout_logp[t].item()), cfg.rollout_correction)
        gap = logp[t] - base[t]
        penalty = {"off": 0.0, "k1": gap, "k2": gap * gap / 2, "k3": math.exp(-gap) - 1 + gap}[cfg.kl]
        total += tokens.loss_weight[t].item() * (cfg.kl_coef * penalty - value)
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


# The others hold their weight constant, so that their gradient is no derivative of their value.
@pytest.mark.parametrize(
    ("objective", "ratio", "kl"),
    [("clip", ratio, kl) for ratio in RATIOS for kl in KLS]
    + [(objective, "token", "off") for objective in ("dual_clip", "sapo", "gmpo", "gpg")],
)
def test_gradient_equals_finite_differences(objective, ratio, kl):
    """With GSPO-token's ratio the whole gradient of a sequence's tokens is the derivative of the loss along it."""
    cfg = LossConfig(objective=objective, ratio=ratio, kl=kl, kl_coef=0.0 if kl == "off" else 0.5)
    tokens = random_tokens([3, 2], seed=5)
    found, step = gradient(tokens, cfg), 1e-6
    if kl == "k1":  # has the value of k1 and, because its own vanishes in expectation, the gradient of k2
        cfg = replace(cfg, kl="k2")
    blocks = [[t] for t in range(5)] if ratio != "sequence" else [[0, 1, 2], [3, 4]]
    for block in blocks:
        direction = torch.zeros(5, dtype=torch.float64)
        direction[block] = step
        high = policy_loss(replace(tokens, logp=tokens.logp.detach() + direction), cfg).loss
        low = policy_loss(replace(tokens, logp=tokens.logp.detach() - direction), cfg).loss
        assert found[block].sum().item() == pytest.approx(
            (high - low).item() / (2 * step), rel=1e-5, abs=1e-8
        )


@pytest.mark.slow
@given(
    lengths=st.lists(st.integers(0, 5), min_size=1, max_size=6),
    cut=st.integers(0, 6),
    which=st.sampled_from(EVERY_LOSS),
    level=st.sampled_from(list(LEVELS)),
    seed=st.integers(0, 1000),
)
def test_loss_and_gradient_add_up_over_micro_batches(lengths, cut, which, level, seed):
    objective, ratio, kl = which
    cfg = LossConfig(
        objective=objective,
        ratio=ratio,
        kl=kl,
        kl_coef=0.0 if kl == "off" else 0.1,
        rollout_correction=1.5,
        rollout_correction_level=level,
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
