"""Sums and means of per-token values over the sequences that they belong to. Pure torch; shapes: `t` tokens."""

from __future__ import annotations

import torch
from torch import Tensor


def _totals(values: Tensor, sequence: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The sum and the number of tokens of each sequence, and each token's place among them."""
    _, index = torch.unique(sequence, return_inverse=True)
    count = int(index.max()) + 1 if len(index) else 0
    total = values.new_zeros(count).index_add(0, index, values)
    tokens = values.new_zeros(count).index_add(0, index, torch.ones_like(values))
    return total, tokens, index


def sequence_sum(values: Tensor, sequence: Tensor) -> Tensor:
    """[t] every token's value replaced by the sum over its sequence, differentiable."""
    total, _, index = _totals(values, sequence)
    return total[index]


def sequence_mean(values: Tensor, sequence: Tensor) -> Tensor:
    """[t] every token's value replaced by the mean over its sequence, differentiable."""
    total, tokens, index = _totals(values, sequence)
    return (total / tokens)[index]
