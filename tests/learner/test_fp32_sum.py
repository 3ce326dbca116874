"""The fp32 sum of bf16 gradients against the exact sum."""

from __future__ import annotations

import torch
from torch import nn

from rlvr.learner.fp32_sum import Fp32GradientSum


def test_the_sum_is_rounded_once_and_starts_anew():
    parameter, unused = nn.Parameter(torch.zeros(2, dtype=torch.bfloat16)), nn.Parameter(torch.zeros(1))
    frozen = nn.Parameter(torch.zeros(1), requires_grad=False)
    total = Fp32GradientSum([parameter, unused, frozen])
    for _ in range(300):  # in bf16 a sum of ones stops at 256
        parameter.grad = torch.ones(2, dtype=torch.bfloat16)
        total.take()
        assert parameter.grad is None
    total.give()
    assert parameter.grad.tolist() == [300.0, 300.0]
    assert parameter.grad.dtype == torch.bfloat16
    assert unused.grad is None
    assert frozen.grad is None
    parameter.grad = torch.ones(2, dtype=torch.bfloat16)
    total.take()
    total.give()
    assert parameter.grad.tolist() == [1.0, 1.0]
