"""Correction for the policy that sampled: weights of old policy over rollout engine. Pure torch; `t` tokens.

The objective is decoupled (arXiv 2110.00641; AReaL, arXiv 2505.24298): its ratio is current over old policy, the
proximal one that the scoring pass evaluates, and this weight makes up for the step from what sampled the tokens to the
old policy. It is a constant to the gradient.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rlvr.config import Config, LossConfig
from rlvr.learner.sequences import sequence_mean, sequence_sum
from rlvr.stats.concentration import effective_ratio
from rlvr.types import Batch

MAX_LOG_WEIGHT = 20.0  # exp(20) is far beyond every cap, and its square is finite


def token_log_weight(log_ratio: Tensor, sequence: Tensor) -> Tensor:
    """log w = log pi_old - log pi_rollout of the token: low variance, biased by what stands before it."""
    return log_ratio


# What one weight stands for: (log pi_old - log pi_rollout [t], sequence [t]) -> log w [t].
LEVELS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "token": token_log_weight,
    "sequence": sequence_sum,  # of the whole response: unbiased; its spread grows with the length
    "geometric": sequence_mean,  # the geometric mean over the response: one scale for every length
}


def truncated(weight: Tensor, cap: float, floor: float) -> Tensor:
    """min(w, cap): truncated importance sampling (TIS). `floor` is not used."""
    return weight.clamp(max=cap)


def masked(weight: Tensor, cap: float, floor: float) -> Tensor:
    """w where floor <= w <= cap, 0 elsewhere: such a token is not learned from (MIS; IcePop with a floor)."""
    return torch.where((weight > cap) | (weight < floor), torch.zeros_like(weight), weight)


def rejected(weight: Tensor, cap: float, floor: float) -> Tensor:
    """1 where floor <= w <= cap, 0 elsewhere: rejection alone, without weighing what is kept."""
    return torch.where((weight > cap) | (weight < floor), torch.zeros_like(weight), torch.ones_like(weight))


# What is done with a weight beyond the bounds: (w [t], cap, floor) -> factor of the surrogate [t].
CORRECTIONS: dict[str, Callable[[Tensor, float, float], Tensor]] = {
    "truncate": truncated,
    "mask": masked,
    "reject": rejected,
}
WITHOUT_FLOOR = "truncate"


def weight_before_bounds(log_ratio: Tensor, sequence: Tensor, level: str) -> Tensor:
    """[t] w of each token at this level, at most exp(20)."""
    return torch.exp(LEVELS[level](log_ratio, sequence).clamp(max=MAX_LOG_WEIGHT))


def correction_weights(log_ratio: Tensor, sequence: Tensor, cfg: LossConfig) -> Tensor | None:
    """[t] constants by which the surrogate is multiplied, from log pi_old - log pi_rollout; None where it is off.

    `sequence` holds whole sequences.
    """
    if cfg.rollout_correction is None:
        return None
    weight = weight_before_bounds(log_ratio, sequence, cfg.rollout_correction_level)
    bound = CORRECTIONS[cfg.rollout_correction_mode]
    return bound(weight, cfg.rollout_correction, cfg.rollout_correction_floor).detach()


def correction_metrics(batch: Batch, cfg: Config) -> dict[str, float]:
    """Statistics of the weights of a scored batch before any bound, for each level; empty where nothing is corrected.

    Over the tokens in the loss at token level, over their sequences otherwise. The effective sample size is
    (sum w)^2 / (n sum w^2), 1 where all weights are equal (Kish 1965).
    """
    cap, floor = cfg.loss.rollout_correction, cfg.loss.rollout_correction_floor
    if cap is None or batch.signals.old_logp is None:
        return {}
    kept = torch.from_numpy(batch.in_loss[batch.sequence_of_token])
    log_ratio = torch.from_numpy(batch.signals.old_logp).double() - torch.from_numpy(batch.rollout_logp)
    log_ratio, sequence = log_ratio[kept], torch.from_numpy(batch.sequence_of_token)[kept]
    if not len(log_ratio):
        return {}
    metrics: dict[str, float] = {}
    for level in LEVELS:
        weight = weight_before_bounds(log_ratio, sequence, level)
        if level != "token":  # one each, not as many as it has tokens
            weight = weight[torch.diff(sequence, prepend=sequence.new_full((1,), -1)) != 0]
        metrics |= {
            f"correction/{level}/mean": weight.mean().item(),
            f"correction/{level}/max": weight.max().item(),
            f"correction/{level}/above": (weight > cap).double().mean().item(),
            f"correction/{level}/below": (weight < floor).double().mean().item(),
            f"correction/{level}/ess": effective_ratio(weight.numpy()),
        }
    factor = correction_weights(log_ratio, sequence, cfg.loss)
    if factor is not None:
        metrics["correction/factor"] = factor.mean().item()
        metrics["correction/left_out"] = (factor == 0).double().mean().item()
    return metrics
