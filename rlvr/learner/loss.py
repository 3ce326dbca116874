"""The surrogate losses: pure functions of per-token tensors [t]. Log-probabilities in nats.

The loss of a mini-batch is a weighted sum over its tokens; `aggregation_weights` in `packing` holds the
global counts, so partial sums of micro-batches and ranks simply add up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rlvr.config import LossConfig
from rlvr.errors import PluginError
from rlvr.learner.correction import correction_weights
from rlvr.learner.objectives import build_objective
from rlvr.learner.objectives.contract import LossInput, Objective, held_always, held_never
from rlvr.learner.sequences import sequence_mean

# The contract of an objective of one's own is found here as well.
__all__ = ["LossInput", "Objective", "build_objective", "held_always", "held_never", "policy_loss"]

# exp(20) is far beyond every clip bound and keeps an fp32 ratio, and its product with an advantage, finite
MAX_LOG_RATIO = 20.0
# Nats. Two passes of one fp32 model over other micro-batches differ by a tenth of it, an update moves far more.
ROUNDING = 1e-4


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
    """Estimate KL(p || q) by q/p - 1 - log(q/p); unbiased and never negative (Schulman 2020).

    Its own gradient is, in expectation, that of KL(q || p).
    """
    inverse = (-log_ratio).clamp(max=MAX_LOG_RATIO)
    return torch.expm1(inverse) - inverse


OFF = "off"  # loss.kl without an estimator
IN_LOSS, IN_REWARD = "loss", "reward"  # loss.kl_in
KL_ESTIMATORS: dict[str, Callable[[Tensor], Tensor]] = {"k1": k1, "k2": k2, "k3": k3}


def token_ratio(log_ratio: Tensor, sequence: Tensor) -> Tensor:
    """r = pi / pi_old of the token."""
    return torch.exp(log_ratio)


def sequence_ratio(log_ratio: Tensor, sequence: Tensor) -> Tensor:
    """r = exp(mean over the sequence of log pi - log pi_old), with the gradient of the token's own log-prob
    (GSPO-token, arXiv 2507.18071, eq. 13)."""
    mean = sequence_mean(log_ratio, sequence).detach()
    return torch.exp(mean + log_ratio - log_ratio.detach())


def joint_sequence_ratio(log_ratio: Tensor, sequence: Tensor) -> Tensor:
    """r = exp(mean over the sequence of log pi - log pi_old), with the gradient of the mean (GSPO, arXiv 2507.18071,
    eq. 7). Where all tokens of a sequence weigh the same its gradient is that of `sequence_ratio`."""
    return torch.exp(sequence_mean(log_ratio, sequence))


RATIOS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "token": token_ratio,
    "sequence": sequence_ratio,
    "sequence_joint": joint_sequence_ratio,
}


def rollout_correction(tokens: LossInput, cfg: LossConfig) -> Tensor | None:
    """[t] constants by which the surrogate makes up for what sampled the tokens; None where loss.rollout_correction is.

    Raises:
        ValueError: the batch has no rollout log-probs.
    """
    if cfg.rollout_correction is None:
        return None
    if tokens.rollout_logp is None:
        raise ValueError("loss.rollout_correction needs the rollout log-probs of the batch")
    return correction_weights(tokens.old_logp - tokens.rollout_logp, tokens.sequence, cfg)


def base_penalty(tokens: LossInput, kind: str) -> Tensor | None:
    """[t] the estimate of KL(policy || base) that is penalised; None where loss.kl is off.

    Raises:
        ValueError: the batch has no log-probs of the base model.
    """
    if kind == OFF:
        return None
    if tokens.base_logp is None:
        raise ValueError("loss.kl needs the base model's log-probs of the batch")
    return KL_ESTIMATORS[kind](tokens.logp - tokens.base_logp)


def old_policy_penalty(tokens: LossInput, coefficient: Tensor) -> Tensor:
    """Scalar: the sum over tokens of coefficient [t] x |log pi - log pi_old|, weighted as the surrogate is.

    The penalty of KL-Cov (arXiv 2505.22617); zero, and without gradient, where policy and old policy agree to within
    ROUNDING.
    """
    apart = (tokens.logp - tokens.old_logp).abs()
    # Its gradient has the same size however small it is: in a step's first update it would be of rounding alone.
    apart = torch.where(apart > ROUNDING, apart, torch.zeros_like(apart))
    return (coefficient * apart * tokens.loss_weight).sum()


def entropy_bonus(tokens: LossInput, coefficient: float) -> Tensor:
    """Scalar: coefficient x the entropy of the policy, exact over the vocabulary, weighted as the surrogate is.

    Raises:
        ValueError: the forward pass has computed no entropies.
    """
    if tokens.entropy is None:
        raise ValueError("loss.entropy_coef needs the entropies of the current policy")
    return coefficient * (tokens.entropy * tokens.loss_weight).sum()


def distillation_loss(tokens: LossInput, coefficient: float) -> Tensor:
    """Scalar: coefficient x the divergence from the base, exact over the vocabulary, weighted as the surrogate is.

    Raises:
        ValueError: the forward pass has computed no divergences.
    """
    if tokens.divergence is None:
        raise ValueError("loss.distill needs the divergences of the current policy from the base")
    return coefficient * (tokens.divergence * tokens.loss_weight).sum()


def policy_loss(tokens: LossInput, cfg: LossConfig) -> LossTerms:
    """The surrogate of OBJECTIVES over a ratio of RATIOS, with KL penalty and entropy bonus, summed over the tokens.

    r is the ratio, clip(r) = clip(r, 1 - clip_low, 1 + clip_high).

    Raises:
        PluginError: the objective did not give one number for each token.
    """
    log_ratio = (tokens.logp - tokens.old_logp).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    ratio = RATIOS[cfg.ratio](log_ratio, tokens.sequence)
    clipped = ratio.clamp(1 - cfg.clip_low, 1 + cfg.clip_high)
    objective = build_objective(cfg.objective, cfg.options)
    surrogate = objective.surrogate(tokens, ratio, clipped)
    if surrogate.shape != tokens.logp.shape:
        raise PluginError(
            f"loss.objective={cfg.objective}: its surrogate has the shape {tuple(surrogate.shape)}, expected "
            f"{tuple(tokens.logp.shape)}: one number for each token"
        )
    correction, penalty = rollout_correction(tokens, cfg), base_penalty(tokens, cfg.kl)
    if correction is not None:
        surrogate = surrogate * correction
    loss = -(surrogate * tokens.loss_weight).sum()
    if penalty is not None and cfg.kl_in == IN_LOSS:
        loss = loss + cfg.kl_coef * (penalty * tokens.loss_weight).sum()
    if cfg.entropy_coef != 0:
        loss = loss - entropy_bonus(tokens, cfg.entropy_coef)
    if cfg.distill_coef != 0 and cfg.distill_in == IN_LOSS:
        loss = loss + distillation_loss(tokens, cfg.distill_coef)
    metric_weight = tokens.loss_weight if tokens.metric_weight is None else tokens.metric_weight
    with torch.no_grad():
        if objective.held_tokens is not None:
            low, high = objective.held_tokens(tokens, ratio, clipped)
        else:
            low, high = objective.held(ratio < 1 - cfg.clip_low, ratio > 1 + cfg.clip_high, tokens.advantage)
        return LossTerms(
            loss=loss,
            clip_low=(low * metric_weight).sum(),
            clip_high=(high * metric_weight).sum(),
            kl_old=(k3(-log_ratio.detach()) * metric_weight).sum(),
            kl_base=metric_weight.new_zeros(())
            if penalty is None
            else (penalty.detach() * metric_weight).sum(),
            ratio_max=ratio.max() if len(ratio) else ratio.new_zeros(()),
        )
