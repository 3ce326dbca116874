"""The objectives by hand, which of them are equal to which, and their options."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from rlvr.config import LossConfig
from rlvr.errors import ConfigError
from rlvr.learner.loss import LossInput, policy_loss
from rlvr.learner.objectives import OBJECTIVES, build_objective
from rlvr.learner.sequences import sequence_mean
from tests.helpers.loss_cases import gradient, one_token
from tests.helpers.records import random_tokens

BOUNDS = {"clip_low": 0.2, "clip_high": 0.3}


# One token whose log-prob is log(ratio) - 1. Loss and its slope along the log-prob; held: (low, high).
@pytest.mark.parametrize(
    ("objective", "options", "ratio", "advantage", "loss", "slope", "held"),
    [
        # Without an advantage no bound holds; a small one is as good as a large one.
        ("clip", {}, 0.5, 0.0, 0.0, 0.0, (0, 0)),
        ("clip", {}, 0.5, 0.5, -0.25, -0.25, (0, 0)),
        ("dual_clip", {}, 4.0, 0.0, 0.0, 0.0, (0, 0)),
        ("dual_clip", {}, 1.1, 2.0, -2.2, -2.2, (0, 0)),
        ("dual_clip", {"ceiling": 1.1}, 1.2, 0.5, -0.6, -0.6, (0, 0)),
        ("unbounded_positive", {}, 4.0, 0.5, -0.5, -0.5, (0, 0)),
        # max(min(rA, clip(r)A), cA): from r = 3 on the loss stays at -cA and the slope is 0.
        ("dual_clip", {}, 2.5, -2.0, 5.0, 5.0, (0, 0)),
        ("dual_clip", {}, 4.0, -2.0, 6.0, 0.0, (0, 1)),
        ("dual_clip", {"ceiling": 5}, 4.0, -2.0, 8.0, 8.0, (0, 0)),
        ("dual_clip", {}, 4.0, 2.0, -2.6, 0.0, (0, 1)),
        ("dual_clip", {}, 0.5, -2.0, 1.6, 0.0, (1, 0)),
        # A pi / sg(pi) for what is to be made likelier, whatever the ratio.
        ("unbounded_positive", {}, 4.0, 2.0, -2.0, -2.0, (0, 0)),
        ("unbounded_positive", {}, 0.1, 2.0, -2.0, -2.0, (0, 0)),
        ("unbounded_positive", {}, 4.0, -2.0, 6.0, 0.0, (0, 1)),
        ("unbounded_positive", {}, 0.5, -2.0, 1.6, 0.0, (1, 0)),
        # -A log pi: the log-prob is log 4 - 1.
        ("gpg", {}, 4.0, 2.0, -2 * (math.log(4) - 1), -2.0, (0, 0)),
        # 4/tau sigmoid(tau (r - 1)) A: at r = 1 half of 4/tau, with the slope r A.
        ("sapo", {}, 1.0, 2.0, -4.0, -2.0, (0, 0)),
        ("sapo", {}, 1.0, -2.0, 2 * 2 / 1.05, 2.0, (0, 0)),
        ("sapo", {"tau_positive": 2}, 1.0, 2.0, -2.0, -2.0, (0, 0)),
        # sigmoid(1) = 0.731059, times its complement 0.196612: slope -2 x 2 x 4 x 0.196612 = -3.145790.
        ("sapo", {}, 2.0, 2.0, -2 * 4 * 0.7310586, -3.1457901, (0, 0)),
        # min(r, 1.3) where A > 0, max(r, 0.8) where A < 0, with no minimum over the product.
        ("gmpo", {}, 1.5, 2.0, -2.6, 0.0, (0, 1)),
        ("gmpo", {}, 0.5, 2.0, -1.0, -1.0, (0, 0)),
        ("gmpo", {}, 0.5, -2.0, 1.6, 0.0, (1, 0)),
        # pi_old = 1/e = 0.368: at r = 1.5 the probability has moved by 0.184, at 1.6 by 0.221, beyond 0.2.
        ("dppo_tv", {}, 1.5, 2.0, -1.5 * 2 * (math.log(1.5) - 1), -3.0, (0, 0)),
        ("dppo_tv", {}, 1.6, 2.0, 0.0, 0.0, (0, 1)),
        ("dppo_tv", {}, 1.6, -2.0, 1.6 * 2 * (math.log(1.6) - 1), 3.2, (0, 0)),
        ("dppo_tv", {}, 0.4, -2.0, 0.0, 0.0, (1, 0)),
        ("dppo_tv", {}, 0.4, 0.5, -0.2 * (math.log(0.4) - 1), -0.2, (0, 0)),
        ("dppo_tv", {"threshold": 0.5, "max_ratio": 1.2}, 1.6, 2.0, -2.4 * (math.log(1.6) - 1), -2.4, (0, 0)),
        # KL of (0.368, 0.632) from (0.552, 0.448) is 0.0683, from (0.441, 0.559) 0.0113.
        ("dppo_kl", {}, 1.5, 2.0, 0.0, 0.0, (0, 1)),
        ("dppo_kl", {}, 1.2, 2.0, -2.4 * (math.log(1.2) - 1), -2.4, (0, 0)),
    ],
)
def test_objective_by_hand(objective, options, ratio, advantage, loss, slope, held):
    tokens, cfg = one_token(ratio, advantage), LossConfig(objective=objective, options=options, **BOUNDS)
    terms = policy_loss(tokens, cfg)
    assert terms.loss.item() == pytest.approx(loss, abs=1e-6)
    assert gradient(tokens, cfg).item() == pytest.approx(slope, abs=1e-6)
    assert (terms.clip_low.item(), terms.clip_high.item()) == held


def test_the_binary_kl_from_a_certain_token_is_a_number():
    """pi_old = 1 and pi = 1/e: KL is 1, whatever 0 log 0 is."""
    tokens = replace(one_token(1.0, -2.0), old_logp=torch.zeros(1, dtype=torch.float64))
    terms = policy_loss(tokens, LossConfig(objective="dppo_kl"))
    assert (terms.loss.item(), terms.clip_low.item()) == (0, 1)


def test_geometric_mean_by_hand():
    # Ratios 2 and 0.5 under A = 1: 2 is held at 1.3, the mean is sqrt(1.3 x 0.5); only the second has a gradient.
    tokens = LossInput(
        logp=torch.tensor([math.log(2) - 1, math.log(0.5) - 1], dtype=torch.float64, requires_grad=True),
        old_logp=torch.full((2,), -1.0, dtype=torch.float64),
        advantage=torch.ones(2, dtype=torch.float64),
        loss_weight=torch.full((2,), 0.5, dtype=torch.float64),
        sequence=torch.tensor([4, 4]),
    )
    cfg = LossConfig(objective="gmpo", **BOUNDS)
    mean = math.sqrt(1.3 * 0.5)
    assert policy_loss(tokens, cfg).loss.item() == pytest.approx(-mean)
    torch.testing.assert_close(gradient(tokens, cfg), torch.tensor([0.0, -mean / 2], dtype=torch.float64))


def one_advantage_a_sequence(lengths: list[int], seed: int) -> LossInput:
    tokens = random_tokens(lengths, seed=seed)
    return replace(tokens, advantage=sequence_mean(tokens.advantage, tokens.sequence))


def sequence_weighted(tokens: LossInput, lengths: list[int]) -> LossInput:
    """loss.aggregation=sequence_mean: 1 / (sequences x own length)."""
    weights = [1 / (len(lengths) * n) for n in lengths for _ in range(n)]
    return replace(tokens, loss_weight=torch.tensor(weights, dtype=torch.float64))


def test_both_forms_of_gspo_are_equal_where_a_sequence_has_one_advantage():
    """arXiv 2507.18071, section 4.3; with weights of single tokens they are not."""
    lengths = [4, 1, 7]
    tokens = sequence_weighted(one_advantage_a_sequence(lengths, 3), lengths)
    token_form, joint = (LossConfig(ratio=r, **BOUNDS) for r in ("sequence", "sequence_joint"))
    assert policy_loss(tokens, token_form).loss.item() == pytest.approx(
        policy_loss(tokens, joint).loss.item()
    )
    torch.testing.assert_close(gradient(tokens, token_form), gradient(tokens, joint))
    weighted = replace(tokens, advantage=tokens.advantage * torch.arange(1, 13))
    assert not torch.allclose(gradient(weighted, token_form), gradient(weighted, joint))


def test_gmpo_without_bounds_is_gspo_without_bounds():
    lengths = [4, 1, 7]
    tokens = sequence_weighted(one_advantage_a_sequence(lengths, 4), lengths)
    wide = {"clip_low": 1 - 1e-9, "clip_high": 1e9}
    gmpo, gspo = LossConfig(objective="gmpo", **wide), LossConfig(ratio="sequence_joint", **wide)
    assert policy_loss(tokens, gmpo).loss.item() == pytest.approx(policy_loss(tokens, gspo).loss.item())
    torch.testing.assert_close(gradient(tokens, gmpo), gradient(tokens, gspo))


def test_a_dual_clip_without_ceiling_is_the_clip():
    tokens = random_tokens([4, 1, 7], seed=5)
    dual = LossConfig(objective="dual_clip", options={"ceiling": 1e9}, **BOUNDS)
    clip = LossConfig(**BOUNDS)
    torch.testing.assert_close(gradient(tokens, dual), gradient(tokens, clip), rtol=0, atol=0)


def test_the_dual_clip_is_what_trl_calls_delta():
    """TRL: min(min(r, delta) A, clip(r) A)."""
    tokens = random_tokens([40, 40], seed=6)
    r = (tokens.logp - tokens.old_logp).exp()
    theirs = torch.minimum(r.clamp(max=1.5) * tokens.advantage, r.clamp(0.8, 1.3) * tokens.advantage)
    ours = policy_loss(tokens, LossConfig(objective="dual_clip", options={"ceiling": 1.5}, **BOUNDS)).loss
    assert ((r > 1.5) & (tokens.advantage < 0)).any()
    assert ours.item() == pytest.approx(-(theirs * tokens.loss_weight).sum().item(), rel=1e-12)


def test_gpg_has_the_gradient_of_a_cispo_whose_weights_are_all_one():
    tokens = random_tokens([4, 1, 7], seed=7)
    cispo = LossConfig(objective="cispo", clip_low=0.0, clip_high=0.0)
    torch.testing.assert_close(gradient(tokens, LossConfig(objective="gpg")), gradient(tokens, cispo))


def test_luspo_is_gspo_over_a_constant_length():
    """LUSPO (arXiv 2602.05261) is mean_i |o_i| min(s_i A_i, clip(s_i) A_i): constant_length, times that length."""
    lengths, longest = [4, 1, 7], 16
    tokens = one_advantage_a_sequence(lengths, 8)
    weight = torch.full((12,), 1 / (len(lengths) * longest), dtype=torch.float64)
    ours = policy_loss(replace(tokens, loss_weight=weight), LossConfig(ratio="sequence_joint", **BOUNDS)).loss
    total, start = 0.0, 0
    for n in lengths:
        part = slice(start, start + n)
        s = (tokens.logp - tokens.old_logp)[part].mean().exp().item()
        a = tokens.advantage[part][0].item()
        total += n * min(s * a, min(max(s, 0.8), 1.3) * a)
        start += n
    assert ours.item() * longest == pytest.approx(-total / len(lengths))


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("dual_clip", {"ceiling": 1.0}, "greater than 1"),
        ("unbounded_positive", {"ceiling": 0.5}, "unbounded_positive"),
        ("sapo", {"tau_positive": 0}, "greater than 0"),
        ("sapo", {"tau_negative": 0}, "greater than 0"),
        ("dppo_tv", {"threshold": 0}, "dppo_tv"),
        ("dppo_kl", {"max_ratio": 0.5}, "at least 1"),
        ("dual_clip", {"celing": 3}, "its options: ceiling"),
        ("clip", {"ceiling": 3}, "its options: none"),
        ("dual_clip", {"ceiling": "three"}, "must be a number"),
        ("dual_clip", {"ceiling": True}, "must be a number"),
        ("dula_clip", {}, "use one of clip, dual_clip"),
        ("tests.helpers.loss_cases:clip", {}, "lacks; expected an rlvr.learner"),
    ],
)
def test_wrong_options_are_refused(name, options, says):
    with pytest.raises(ConfigError, match=says):
        build_objective(name, options)


def test_every_name_builds_with_its_defaults():
    for name in OBJECTIVES:
        assert build_objective(name).surrogate


def test_entropy_bonus_by_hand_and_its_gradient():
    tokens = replace(
        random_tokens([2, 1], seed=9), entropy=torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    )
    entropy = tokens.entropy.requires_grad_()
    plain, bonus = LossConfig(), LossConfig(entropy_coef=0.3)
    gap = policy_loss(tokens, plain).loss - policy_loss(tokens, bonus).loss
    assert gap.item() == pytest.approx(0.3 * 3.5 / 3)
    (found,) = torch.autograd.grad(policy_loss(tokens, bonus).loss, entropy)
    torch.testing.assert_close(found, torch.full((3,), -0.1, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"loss\.entropy_coef"):
        policy_loss(replace(tokens, entropy=None), bonus)
