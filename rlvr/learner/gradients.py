"""How much each token of a batch has to say in the update: an estimate from what scoring knows. Pure."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from rlvr.config import Config
from rlvr.learner.correction import correction_weights
from rlvr.learner.loss import build_objective
from rlvr.learner.packing import sequence_weights
from rlvr.types import Batch


def gradient_norms(batch: Batch, cfg: Config) -> NDArray[np.float64]:
    """[T] about the norm of the loss's gradient at each token's logits, up to one factor for all; 0 outside the loss.

    The gradient is c (onehot(y) - pi), with y the sampled token and c its advantage, its weight, its rollout correction
    and its share of loss.aggregation multiplied. Its norm lies between |c| (1 - pi(y)), which this is, and sqrt(2)
    times as much, whatever the rest of the distribution. Of the first update, where all ratios are 1 and nothing is
    clipped, with the batch as one mini-batch; without penalties. For an objective of one's own c is the same; for
    loss.objective=none, whose gradient is that of the penalties alone, all are 0.

    Raises:
        ValueError: the batch must have been scored and given token advantages before.
    """
    if batch.signals.old_logp is None or batch.token_advantage is None:
        raise ValueError("the batch must have been scored and given token advantages before")
    if cfg.loss.objective == "none":
        return np.zeros(len(batch.token_advantage))
    weights = sequence_weights(
        batch, np.arange(batch.size), cfg.loss.aggregation, cfg.rollout.max_response_tokens
    )
    surprise = -np.expm1(np.minimum(batch.signals.old_logp.astype(np.float64), 0.0))
    reads_advantages = build_objective(cfg.loss.objective, cfg.loss.options).reads_advantages
    advantage = np.abs(batch.token_advantage) if reads_advantages else 1.0
    norms = surprise * weights[batch.sequence_of_token] * advantage
    log_ratio, sequence = batch.signals.old_logp - batch.rollout_logp, batch.sequence_of_token
    correction = correction_weights(torch.from_numpy(log_ratio), torch.from_numpy(sequence), cfg.loss)
    return norms if correction is None else norms * correction.numpy()
