"""The estimated gradient norm of a token against autograd's, for every aggregation, and what it leaves out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from rlvr.config import Config
from rlvr.learner.gradients import gradient_norms
from rlvr.learner.loss import LossInput, policy_loss
from rlvr.learner.packing import AGGREGATIONS, sequence_weights
from rlvr.types import Batch, TokenSignals
from tests.helpers.records import random_batch

VOCABULARY = 7


def with_logits(
    objective: str,
    aggregation: str,
    sharpness: float,
    correction: float | None = None,
    ratio: str = "token",
) -> tuple[Batch, Config, np.ndarray]:
    """A batch scored with random logits, and autograd's norm of the loss's gradient at the logits of each token."""
    cfg = Config(recipe="test")
    cfg.loss.objective, cfg.loss.aggregation, cfg.loss.ratio = objective, aggregation, ratio
    cfg.loss.rollout_correction = correction
    batch = random_batch([2, 3, 2, 4], [3, 1, 8, 5], seed=3)
    rng = np.random.default_rng(5)
    weights = rng.uniform(0.5, 1.5, batch.tokens).astype(np.float32)
    batch = replace(
        batch,
        in_loss=np.asarray([True, True, True, False]),
        token_weight=weights,
        token_advantage=batch.advantage[batch.sequence_of_token] * weights,
    )
    logits = torch.from_numpy(sharpness * rng.normal(size=(batch.tokens, VOCABULARY))).requires_grad_()
    sampled = torch.from_numpy(batch.response_ids % VOCABULARY)
    logp = torch.log_softmax(logits, -1)[torch.arange(batch.tokens), sampled]
    weight = sequence_weights(batch, np.arange(4), aggregation, cfg.rollout.max_response_tokens)
    tokens = LossInput(
        logp=logp,
        old_logp=logp.detach(),
        advantage=torch.from_numpy(batch.token_advantage),
        loss_weight=torch.from_numpy(weight[batch.sequence_of_token]),
        sequence=torch.from_numpy(batch.sequence_of_token),
        rollout_logp=torch.from_numpy(batch.rollout_logp),
    )
    policy_loss(tokens, cfg.loss).loss.backward()
    scored = replace(batch, signals=TokenSignals(old_logp=logp.detach().float().numpy()))
    return scored, cfg, logits.grad.norm(dim=-1).numpy()


@pytest.mark.parametrize("sharpness", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("objective", ["clip", "cispo", "nll"])
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_the_exact_norm_is_between_the_estimate_and_its_square_root_of_two(objective, aggregation, sharpness):
    batch, cfg, exact = with_logits(objective, aggregation, sharpness)
    found = gradient_norms(batch, cfg)
    assert (found[-5:] == 0).all()  # outside the loss
    assert (found[:-5] > 0).all()
    assert (found <= exact * (1 + 1e-4) + 1e-9).all()
    assert (exact <= np.sqrt(2) * found * (1 + 1e-4) + 1e-9).all()


@pytest.mark.parametrize(("objective", "ratio"), [("clip", "sequence_joint"), ("gmpo", "token")])
def test_where_the_tokens_of_a_sequence_share_one_ratio_they_share_their_say(objective, ratio):
    batch, cfg, exact = with_logits(objective, "token_mean", 1.0, ratio=ratio)
    found = gradient_norms(batch, cfg)
    assert (found[-5:] == 0).all()
    assert (found <= exact * (1 + 1e-4) + 1e-9).all()
    assert (exact <= np.sqrt(2) * found * (1 + 1e-4) + 1e-9).all()


def test_penalties_are_left_out():
    batch, cfg, _ = with_logits("clip", "token_mean", 1.0)
    expected = gradient_norms(batch, cfg)
    cfg.loss.kl, cfg.loss.kl_coef, cfg.loss.entropy_coef = "k2", 10.0, 10.0
    cfg.loss.distill, cfg.loss.distill_coef = "js", 10.0
    np.testing.assert_array_equal(gradient_norms(batch, cfg), expected)


def test_the_correction_for_what_sampled_the_tokens_counts():
    batch, cfg, exact = with_logits("clip", "token_mean", 1.0, correction=2.0)
    found = gradient_norms(batch, cfg)
    assert (found <= exact * (1 + 1e-4) + 1e-9).all()
    assert (exact <= np.sqrt(2) * found * (1 + 1e-4) + 1e-9).all()
    cfg.loss.rollout_correction = None
    assert len(np.unique(np.round(found[:-5] / gradient_norms(batch, cfg)[:-5], 3))) > 3


def test_without_an_objective_no_token_has_a_say():
    batch, cfg, _ = with_logits("clip", "token_mean", 1.0)
    cfg.loss.objective = "none"
    np.testing.assert_array_equal(gradient_norms(batch, cfg), np.zeros(batch.tokens))


@pytest.mark.parametrize("lacking", [{"token_advantage": None}, {"signals": TokenSignals()}])
def test_a_batch_must_have_been_scored(lacking):
    batch, cfg, _ = with_logits("clip", "token_mean", 1.0)
    with pytest.raises(ValueError, match="scored and given token advantages"):
        gradient_norms(replace(batch, **lacking), cfg)
