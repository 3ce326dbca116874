"""Divergence weighting: w_t = 1 + s (sigmoid(alpha D_t) - 1/2) (arXiv 2603.22446, section on
divergence-weighted advantages).

The paper's D is the k3 estimate of KL(old || current), which changes inside the update. The three others
compare policy and base exactly over the vocabulary and are known once the batch has been scored.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rlvr.advantage.token.contract import TokenView
from rlvr.errors import ConfigError

DIVERGENCES = ("js_base", "kl_policy_base", "kl_base_policy", "kl_old")


@dataclass(frozen=True, slots=True)
class DivergenceWeight:
    """Bounded weight: alpha > 0 boosts tokens of high divergence, to [1, 1 + s/2); alpha < 0 damps them,
    to (1 - s/2, 1], and so favours tokens of low divergence.

    Both also change the mean weight, hence the size of the update; advantage.normalize takes that out.

    `alpha_end` moves alpha linearly from `alpha` to it over the run.
    """

    signal: str = "js_base"
    alpha: float = 10.0
    scale: float = 1.0  # s
    alpha_end: float | None = None  # None: constant

    def __post_init__(self) -> None:
        if self.signal not in DIVERGENCES:
            raise ConfigError(f"advantage.options.signal={self.signal}: use one of {', '.join(DIVERGENCES)}")
        if not 0 <= self.scale <= 2:
            raise ConfigError(
                f"advantage.options.scale={self.scale}: must lie in 0..2, beyond that weights turn negative"
            )

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({self.signal})

    def weights(self, view: TokenView) -> Tensor:
        """[T] weights; an infinite KL saturates the sigmoid."""
        end = self.alpha if self.alpha_end is None else self.alpha_end
        alpha = self.alpha + (end - self.alpha) * view.progress
        divergence = view.signals[self.signal].clamp(max=torch.finfo(torch.float32).max / 1e6)
        return 1 + self.scale * (torch.sigmoid(alpha * divergence) - 0.5)
