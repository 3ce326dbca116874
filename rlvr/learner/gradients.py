"""How much each token of a batch has to say in the update: an estimate from what scoring knows. Pure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlvr.config import Config
from rlvr.learner.distill import DIVERGENCES
from rlvr.learner.loss import OFF, LossInput, policy_loss
from rlvr.learner.packing import sequence_weights
from rlvr.types import Batch, Floats


def gradient_norms(batch: Batch, cfg: Config) -> NDArray[np.float64]:
    """[T] about the norm of the loss's gradient at each token's logits, up to one factor for all; 0 outside the loss.

    The gradient is c (onehot(y) - pi), with y the sampled token and c the loss's derivative along its log-prob, which
    holds its advantage, its weight, its rollout correction and its share of loss.aggregation. Its norm lies between
    |c| (1 - pi(y)), which this is, and sqrt(2) times as much, whatever the rest of the distribution. Of the first
    update, where all ratios are 1 and nothing is clipped, with the batch as one mini-batch; without penalties, so that
    for loss.objective=none all are 0.

    Raises:
        ValueError: the batch must have been scored and given token advantages before.
    """
    if batch.signals.old_logp is None or batch.token_advantage is None:
        raise ValueError("the batch must have been scored and given token advantages before")
    surprise = -np.expm1(np.minimum(batch.signals.old_logp.astype(np.float64), 0.0))
    return surprise * np.abs(_slopes(batch, cfg))


def _slopes(batch: Batch, cfg: Config) -> Floats:
    """[T] the loss's derivative along each log-prob, by autograd: a ratio may spread a token's say over a sequence."""
    signals, loss = batch.signals, cfg.loss

    def tensor(values: Floats | None) -> Tensor | None:
        return None if values is None else torch.from_numpy(values)

    weights = sequence_weights(
        batch, np.arange(batch.size), loss.aggregation, cfg.rollout.max_response_tokens
    )
    logp = torch.tensor(signals.old_logp).requires_grad_()
    tokens = LossInput(
        logp=logp,
        old_logp=logp.detach(),
        advantage=torch.tensor(batch.token_advantage),
        loss_weight=torch.from_numpy(weights[batch.sequence_of_token]),
        sequence=torch.from_numpy(batch.sequence_of_token),
        rollout_logp=torch.from_numpy(batch.rollout_logp),
        base_logp=tensor(signals.base_logp),
        entropy=tensor(signals.entropy),
        divergence=None
        if loss.distill == OFF
        else tensor(getattr(signals, DIVERGENCES[loss.distill].signal)),
    )
    found = policy_loss(tokens, replace(loss, kl=OFF, entropy_coef=0.0, distill_coef=0.0)).loss
    if not found.requires_grad:
        return np.zeros(batch.tokens, dtype=np.float32)
    (slopes,) = torch.autograd.grad(found, logp)
    return slopes.numpy()
