"""Gradients of a bf16 model added up in fp32 over micro-batches, for the one case in which DeepSpeed does not."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn


class Fp32GradientSum:
    """Takes the gradients of each backward pass out of the parameters, and puts their sum back before an update."""

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        self._parameters = [p for p in parameters if p.requires_grad]
        self._sums: dict[nn.Parameter, torch.Tensor] = {}

    def take(self) -> None:
        """Add what the last backward pass has left, and clear it."""
        for parameter in self._parameters:
            if parameter.grad is None:
                continue
            if parameter in self._sums:
                self._sums[parameter] += parameter.grad
            else:
                self._sums[parameter] = parameter.grad.float()
            parameter.grad = None

    def give(self) -> None:
        """Leave the sums in the parameters, rounded once to their dtype, and begin anew."""
        for parameter, total in self._sums.items():
            parameter.grad = total.to(parameter.dtype)
        self._sums.clear()
