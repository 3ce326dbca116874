"""The control for divergence weighting: the same weights, on random tokens."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rlvr.advantage.token.contract import TokenView
from rlvr.advantage.token.divergence import DivergenceWeight
from rlvr.errors import ConfigError


@dataclass(frozen=True, slots=True)
class RandomWeight:
    """The weights of `DivergenceWeight` with the same options, shuffled over the tokens of the batch.

    Shuffling keeps the distribution of the weights exactly, so a difference between the two can only come
    from *which* tokens were weighted. `kl_old` is refused: it is known a micro-batch at a time only.
    """

    signal: str = "js_base"
    alpha: float = 10.0
    scale: float = 1.0
    alpha_end: float | None = None

    def __post_init__(self) -> None:
        if self.signal == "kl_old":
            raise ConfigError(
                "advantage.options.signal=kl_old: the random control shuffles over the whole batch, and kl_old "
                "exists only inside the update; use js_base, kl_policy_base or kl_base_policy"
            )
        self._ordered()

    def _ordered(self) -> DivergenceWeight:
        return DivergenceWeight(self.signal, self.alpha, self.scale, self.alpha_end)

    @property
    def requires(self) -> frozenset[str]:
        return self._ordered().requires

    def weights(self, view: TokenView) -> Tensor:
        """[T] the divergence weights, those of tokens in the loss shuffled among themselves by the step's seed."""
        generator = torch.Generator().manual_seed(view.seed)
        weights = self._ordered().weights(view)
        counted = view.counted(torch.arange(len(weights)))
        weights[counted] = weights[counted[torch.randperm(len(counted), generator=generator)]]
        return weights
