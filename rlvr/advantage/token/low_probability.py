"""Reweighting by the probability of the sampled token: w_t = 1 + alpha (1 - pi_old(y_t)).

- alpha > 0 boosts improbable tokens: arXiv 2603.22117, the training-time method (1 + c - c pi in the published
  code, github.com/Hesse73/RLVR-Directions, `reshape_reversed`, c = 0.2 for Qwen2.5-Math-7B).
- alpha < 0 damps them: the advantage reweighting alpha' pi + (1 - alpha') of arXiv 2505.12929 with
  alpha' = -alpha.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from rlvr.advantage.token.contract import TokenView
from rlvr.errors import ConfigError


@dataclass(frozen=True, slots=True)
class LowProbabilityWeight:
    """Weight between 1, for a certain token, and 1 + alpha, for one of probability 0."""

    alpha: float = 0.2

    def __post_init__(self) -> None:
        if not -1 <= self.alpha < float("inf"):
            raise ConfigError(
                f"advantage.options.alpha={self.alpha}: must be at least -1, below that weights turn negative"
            )

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({"old_logp"})

    def weights(self, view: TokenView) -> Tensor:
        """[T] weights."""
        return 1 + self.alpha * (1 - view.signals["old_logp"].exp())
