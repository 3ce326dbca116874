"""The surrogate losses: pure functions of per-token tensors [t]. Log-probabilities in nats.

The loss of a mini-batch is a weighted sum over its tokens; `aggregation_weights` in `packing` holds the
global counts, so partial sums of micro-batches and ranks simply add up.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rlvr.config import LossConfig

# exp(20) is far beyond every clip bound and keeps an fp32 ratio, and its product with an advantage, finite
MAX_LOG_RATIO = 20.0


@dataclass(frozen=True, slots=True)
class LossInput:
    """Tokens of one micro-batch. All [t]; only `logp` carries a gradient."""

    logp: Tensor  # current policy
    old_logp: Tensor  # policy at the start of the step
    advantage: Tensor  # token advantage, plug-in weights included
    weight: Tensor  # aggregation weight, 0 outside the loss
    sequence: Tensor  # index of the token's sequence
    rollout_logp: Tensor | None = None  # for rollout correction
    base_logp: Tensor | None = None  # for the KL penalty
    share: Tensor | None = None  # 1 / loss tokens of the mini-batch, 0 outside the loss; None: as `weight`


@dataclass(frozen=True, slots=True)
class LossTerms:
    """The loss to differentiate and what to log; sums over tokens, to be added over micro-batches."""

    loss: Tensor  # scalar
    clip_low: Tensor  # share of the loss tokens held at the lower bound
    clip_high: Tensor
    kl_old: Tensor  # mean over loss tokens of k3 KL(old || current)
    kl_base: Tensor  # mean over loss tokens of the KL penalty, 0 when off
    ratio_max: Tensor  # largest ratio, a maximum rather than a sum


def k1(log_ratio: Tensor) -> Tensor:
    """Estimate KL(p || q) by log p - log q on tokens sampled from p; unbiased, can be negative.

    Its own gradient is 0 in expectation and would regularise nothing, so it carries that of k2, which is the
    gradient of KL(p || q) in expectation.
    """
    slope = k2(log_ratio)
    return log_ratio.detach() + slope - slope.detach()


def k2(log_ratio: Tensor) -> Tensor:
    """Estimate KL(p || q) by (log p - log q)^2 / 2; biased, low variance (Schulman 2020)."""
    return log_ratio.square() / 2


def k3(log_ratio: Tensor) -> Tensor:
    """Estimate KL(p || q) by q/p - 1 - log(q/p); unbiased and never negative (Schulman 2020)."""
    inverse = (-log_ratio).clamp(max=MAX_LOG_RATIO)
    return torch.expm1(inverse) - inverse


KL_ESTIMATORS = {"k1": k1, "k2": k2, "k3": k3}


def sequence_mean(values: Tensor, sequence: Tensor) -> Tensor:
    """[t] every token's value replaced by the mean over its sequence, differentiable."""
    _, index = torch.unique(sequence, return_inverse=True)
    count = int(index.max()) + 1 if len(index) else 0
    total = values.new_zeros(count).index_add(0, index, values)
    tokens = values.new_zeros(count).index_add(0, index, torch.ones_like(values))
    return (total / tokens)[index]


def old_policy_penalty(tokens: LossInput, coefficient: Tensor) -> Tensor:
    """Scalar: the sum over tokens of coefficient [t] x |log pi - log pi_old|, weighted as the surrogate is.

    The penalty of KL-Cov (arXiv 2505.22617); zero, and without gradient, where policy and old policy agree.
    """
    return (coefficient * (tokens.logp - tokens.old_logp).abs() * tokens.weight).sum()


def policy_loss(tokens: LossInput, cfg: LossConfig) -> LossTerms:
    """The clipped surrogate with its KL penalty, summed over the given tokens.

    - objective clip: -min(r A, clip(r, 1 - clip_low, 1 + clip_high) A) (PPO; DAPO, arXiv 2503.14476, eq. 8)
    - objective nll: -log pi, advantages ignored: supervised learning on given answers
    - objective cispo: -sg(clip(r)) A log pi (arXiv 2506.13585, eq. 4)
    - ratio sequence: r = exp(mean over the sequence of log pi - log pi_old), with the gradient of the token's
      own log-prob (GSPO-token, arXiv 2507.18071, eq. 13)
    """
    log_ratio = (tokens.logp - tokens.old_logp).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    if cfg.ratio == "sequence":
        mean = sequence_mean(log_ratio, tokens.sequence).detach()
        ratio = torch.exp(mean + log_ratio - log_ratio.detach())
    else:
        ratio = torch.exp(log_ratio)
    clipped = ratio.clamp(1 - cfg.clip_low, 1 + cfg.clip_high)
    advantage = tokens.advantage
    if cfg.objective == "nll":
        surrogate = tokens.logp
    elif cfg.objective == "cispo":
        surrogate = clipped.detach() * advantage * tokens.logp
    else:
        surrogate = torch.minimum(ratio * advantage, clipped * advantage)
    weight = tokens.weight
    if cfg.rollout_correction is not None:
        if tokens.rollout_logp is None:
            raise ValueError("loss.rollout_correction needs the rollout log-probs of the batch")
        # Truncated importance sampling: old policy over rollout engine, a constant in the gradient.
        correction = torch.exp(tokens.old_logp - tokens.rollout_logp).clamp(max=cfg.rollout_correction)
        surrogate = surrogate * correction.detach()
    loss = -(surrogate * weight).sum()
    penalty = torch.zeros_like(tokens.logp)
    if cfg.kl != "off":
        if tokens.base_logp is None:
            raise ValueError("loss.kl needs the base model's log-probs of the batch")
        penalty = KL_ESTIMATORS[cfg.kl](tokens.logp - tokens.base_logp)
        loss = loss + cfg.kl_coef * (penalty * weight).sum()
    share = weight if tokens.share is None else tokens.share
    with torch.no_grad():
        low, high = ratio < 1 - cfg.clip_low, ratio > 1 + cfg.clip_high
        if cfg.objective == "clip":  # the minimum lets a bound hold only on one side; CISPO's always holds
            low, high = low & (advantage < 0), high & (advantage > 0)
        elif cfg.objective == "nll":  # has no bounds
            low, high = torch.zeros_like(low), torch.zeros_like(high)
        return LossTerms(
            loss=loss,
            clip_low=(low * share).sum(),
            clip_high=(high * share).sum(),
            kl_old=(k3(-log_ratio.detach()) * share).sum(),
            kl_base=(penalty.detach() * share).sum(),
            ratio_max=ratio.max() if len(ratio) else ratio.new_zeros(()),
        )
