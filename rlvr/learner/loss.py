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
from rlvr.dotted import find_named, require_record
from rlvr.errors import PluginError
from rlvr.learner.correction import correction_weights
from rlvr.learner.sequences import sequence_mean

# exp(20) is far beyond every clip bound and keeps an fp32 ratio, and its product with an advantage, finite
MAX_LOG_RATIO = 20.0


@dataclass(frozen=True, slots=True)
class LossInput:
    """Tokens of one micro-batch. All [t]; only `logp` carries a gradient."""

    logp: Tensor  # current policy
    old_logp: Tensor  # policy at the start of the step
    advantage: Tensor  # token advantage, plug-in weights included
    loss_weight: Tensor  # loss.aggregation's weight of the token, 0 outside the loss
    sequence: Tensor  # index of the token's sequence
    rollout_logp: Tensor | None = None  # for rollout correction
    base_logp: Tensor | None = None  # for the KL penalty
    # For what is logged, every loss token alike: 1 / loss tokens of the mini-batch, 0 outside; None: as `loss_weight`
    metric_weight: Tensor | None = None


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


OFF = "off"  # loss.kl without an estimator
KL_ESTIMATORS: dict[str, Callable[[Tensor], Tensor]] = {"k1": k1, "k2": k2, "k3": k3}


def token_ratio(log_ratio: Tensor, sequence: Tensor) -> Tensor:
    """r = pi / pi_old of the token."""
    return torch.exp(log_ratio)


def sequence_ratio(log_ratio: Tensor, sequence: Tensor) -> Tensor:
    """r = exp(mean over the sequence of log pi - log pi_old), with the gradient of the token's own log-prob
    (GSPO-token, arXiv 2507.18071, eq. 13)."""
    mean = sequence_mean(log_ratio, sequence).detach()
    return torch.exp(mean + log_ratio - log_ratio.detach())


RATIOS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"token": token_ratio, "sequence": sequence_ratio}


@dataclass(frozen=True, slots=True)
class Objective:
    """What is maximised for each token [t], and on which tokens a bound of the ratio holds."""

    surrogate: Callable[[LossInput, Tensor, Tensor], Tensor]  # (tokens, ratio, clipped ratio)
    held: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]  # (below, above, advantage) -> low, high
    reads_advantages: bool = True  # False: it learns from given answers (rollout.answers) and weighs none


def clip_surrogate(tokens: LossInput, ratio: Tensor, clipped: Tensor) -> Tensor:
    """min(r A, clip(r) A) (PPO; DAPO, arXiv 2503.14476, eq. 8)."""
    return torch.minimum(ratio * tokens.advantage, clipped * tokens.advantage)


def cispo_surrogate(tokens: LossInput, ratio: Tensor, clipped: Tensor) -> Tensor:
    """sg(clip(r)) A log pi (CISPO, arXiv 2506.13585, eq. 4)."""
    return clipped.detach() * tokens.advantage * tokens.logp


def nll_surrogate(tokens: LossInput, ratio: Tensor, clipped: Tensor) -> Tensor:
    """log pi, advantages ignored: supervised learning on given answers."""
    return tokens.logp


def held_by_the_minimum(below: Tensor, above: Tensor, advantage: Tensor) -> tuple[Tensor, Tensor]:
    """The minimum lets a bound hold on one side only."""
    return below & (advantage < 0), above & (advantage > 0)


def held_always(below: Tensor, above: Tensor, advantage: Tensor) -> tuple[Tensor, Tensor]:
    """Both bounds hold whatever the advantage."""
    return below, above


def held_never(below: Tensor, above: Tensor, advantage: Tensor) -> tuple[Tensor, Tensor]:
    """There are no bounds."""
    return torch.zeros_like(below), torch.zeros_like(above)


OBJECTIVES: dict[str, Objective] = {
    "clip": Objective(clip_surrogate, held_by_the_minimum),
    "cispo": Objective(cispo_surrogate, held_always),
    "nll": Objective(nll_surrogate, held_never, reads_advantages=False),
}


def build_objective(name: str) -> Objective:
    """The objective called `name` (built in, or a dotted path).

    Raises:
        ConfigError: unknown name, or no `Objective`.
    """
    objective = find_named(name, OBJECTIVES, "loss.objective")
    require_record(objective, name, "loss.objective", Objective)
    return objective


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

    The penalty of KL-Cov (arXiv 2505.22617); zero, and without gradient, where policy and old policy agree.
    """
    return (coefficient * (tokens.logp - tokens.old_logp).abs() * tokens.loss_weight).sum()


def policy_loss(tokens: LossInput, cfg: LossConfig) -> LossTerms:
    """The surrogate of OBJECTIVES over a ratio of RATIOS, with its KL penalty, summed over the given tokens.

    r is the ratio, clip(r) = clip(r, 1 - clip_low, 1 + clip_high).

    Raises:
        PluginError: the objective did not give one number for each token.
    """
    log_ratio = (tokens.logp - tokens.old_logp).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    ratio = RATIOS[cfg.ratio](log_ratio, tokens.sequence)
    clipped = ratio.clamp(1 - cfg.clip_low, 1 + cfg.clip_high)
    objective = build_objective(cfg.objective)
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
    if penalty is not None:
        loss = loss + cfg.kl_coef * (penalty * tokens.loss_weight).sum()
    metric_weight = tokens.loss_weight if tokens.metric_weight is None else tokens.metric_weight
    with torch.no_grad():
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
