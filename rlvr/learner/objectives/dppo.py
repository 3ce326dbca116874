"""DPPO: tokens leave the trust region by how far their probability has moved, not by their ratio."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rlvr.errors import ConfigError
from rlvr.learner.objectives.contract import LossInput, Objective


def total_variation(logp: Tensor, old_logp: Tensor) -> Tensor:
    """[t] |pi - pi_old| of the sampled token: the total variation of "this token or another"."""
    return (logp.exp() - old_logp.exp()).abs()


def binary_kl(logp: Tensor, old_logp: Tensor) -> Tensor:
    """[t] KL(pi_old || pi) of "this token or another", in nats."""
    old, others, old_others = old_logp.exp(), _log_of_others(logp), _log_of_others(old_logp)
    return old * (old_logp - logp) + (1 - old) * (old_others - others)


def _log_of_others(logp: Tensor) -> Tensor:
    """log(1 - pi), finite where pi rounds to 1."""
    return torch.log((-torch.expm1(logp)).clamp(min=1e-8))


def _dppo(
    divergence: Callable[[Tensor, Tensor], Tensor], threshold: float, max_ratio: float, name: str
) -> Objective:
    if not (threshold > 0 and max_ratio >= 1):
        raise ConfigError(
            f"loss.options.threshold={threshold}, loss.options.max_ratio={max_ratio} of {name}: the threshold must be "
            "greater than 0, the largest ratio at least 1"
        )

    def outside(tokens: LossInput) -> tuple[Tensor, Tensor]:
        """Tokens that have moved too far down, or up, and would move on."""
        far = divergence(tokens.logp.detach(), tokens.old_logp) > threshold
        up = tokens.logp.detach() > tokens.old_logp
        return far & ~up & (tokens.advantage <= 0), far & up & (tokens.advantage > 0)

    def surrogate(tokens: LossInput, ratio: Tensor, clipped: Tensor) -> Tensor:
        low, high = outside(tokens)
        weight = ratio.detach().clamp(max=max_ratio)
        return torch.where(low | high, 0.0, weight) * tokens.advantage * tokens.logp

    def held(tokens: LossInput, ratio: Tensor, clipped: Tensor) -> tuple[Tensor, Tensor]:
        return outside(tokens)

    return Objective(surrogate, held_tokens=held)


def dppo_tv(threshold: float = 0.2, max_ratio: float = 20.0) -> Objective:
    """M sg(min(r, max_ratio)) A log pi, M = 0 where |pi - pi_old| > threshold and the update would widen it
    (DPPO-Binary-TV, arXiv 2602.04879, section 4.2)."""
    return _dppo(total_variation, threshold, max_ratio, "dppo_tv")


def dppo_kl(threshold: float = 0.05, max_ratio: float = 20.0) -> Objective:
    """As `dppo_tv`, by the binary KL(pi_old || pi) (DPPO-Binary-KL, arXiv 2602.04879, section 4.2)."""
    return _dppo(binary_kl, threshold, max_ratio, "dppo_kl")
