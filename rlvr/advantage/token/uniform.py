"""Uniform weights: plain GRPO / DAPO."""

from dataclasses import dataclass

import torch
from torch import Tensor

from rlvr.advantage.token.contract import TokenView


@dataclass(frozen=True, slots=True)
class Uniform:
    """w_t = 1."""

    @property
    def requires(self) -> frozenset[str]:
        return frozenset()

    def weights(self, view: TokenView) -> Tensor:
        """[T] ones."""
        return torch.ones_like(view.advantage)
