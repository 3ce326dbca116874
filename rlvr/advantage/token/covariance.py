"""Clip-Cov and KL-Cov: hold back the few tokens that drive the policy's entropy down (arXiv 2505.22617).

Both rank tokens by their share of the covariance between log-probability and advantage,

  Cov_t = (log pi_t - mean log pi) (A_t - mean A)      (eq. 10), means over the loss tokens of the batch.

The paper recomputes it with the current policy for each mini-batch; here it is taken once over the batch, under
the policy that starts the step, so that micro-batches and ranks do not change the choice.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rlvr.advantage.token.contract import TokenView, require_share
from rlvr.errors import ConfigError


def covariance(view: TokenView) -> Tensor:
    """[T] every token's part in the covariance of log-probability and advantage; -inf outside the loss."""
    logp, advantage = view.signals["old_logp"], view.advantage
    centred = (logp - view.counted(logp).mean()) * (advantage - view.counted(advantage).mean())
    return centred if view.in_loss is None else centred.masked_fill(~view.in_loss, -torch.inf)


@dataclass(frozen=True, slots=True)
class ClipCov:
    """Take the policy gradient from `share` of the tokens, drawn among those with low < Cov_t < high.

    w_t = 0 for the drawn tokens, 1 for the rest (eq. 11-12). The published code draws among tokens
    that the clip bounds leave alone; which those are is not known yet when the batch is scored.
    """

    share: float = 2e-4  # of the batch's loss tokens, at least one token
    low: float = 1.0
    high: float = 5.0

    def __post_init__(self) -> None:
        require_share("share", self.share)
        if not self.low < self.high:
            raise ConfigError(
                f"advantage.options.low={self.low}: must be below advantage.options.high={self.high}"
            )

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({"old_logp"})

    def weights(self, view: TokenView) -> Tensor:
        """[T] ones and a few zeros, drawn by the step's seed."""
        found = covariance(view)
        candidates = torch.nonzero((found > self.low) & (found < self.high)).flatten()
        count = max(1, int(self.share * len(view.counted(found))))
        generator = torch.Generator().manual_seed(view.seed)
        drawn = candidates[torch.randperm(len(candidates), generator=generator)[:count]]
        return torch.ones_like(found).index_fill(0, drawn, 0.0)


@dataclass(frozen=True, slots=True)
class KLCov:
    """Penalise leaving the old policy on the `share` of tokens with the largest covariance.

    Adds coefficient x |log pi - log pi_old| to the loss of these tokens (eq. 13-14, with the
    estimate of the KL that the published code uses); weights are 1. The published code drops the clip bounds;
    here they are those of the loss.
    """

    share: float = 2e-3  # of the batch's loss tokens, at least one token
    coefficient: float = 1.0

    def __post_init__(self) -> None:
        require_share("share", self.share)
        if not 0 < self.coefficient < float("inf"):
            raise ConfigError(f"advantage.options.coefficient={self.coefficient}: must be greater than 0")

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({"old_logp"})

    def weights(self, view: TokenView) -> Tensor:
        """[T] ones."""
        return torch.ones_like(view.advantage)

    def penalty(self, view: TokenView) -> Tensor:
        """[T] the coefficient on the chosen tokens, 0 elsewhere."""
        found = covariance(view)
        counted = len(view.counted(found))
        chosen = torch.topk(found, min(counted, max(1, int(self.share * counted)))).indices
        return torch.zeros_like(found).index_fill(0, chosen, self.coefficient)
