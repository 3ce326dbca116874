"""A kernel that computes exponentials and nothing else: the rate of the special-function units."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

EXPONENTIALS = 256  # for each entry of the output


@triton.jit
def _exp2_kernel(out, N: tl.constexpr, BLOCK: tl.constexpr):
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    a = -0.5 - offs.to(tl.float32) * 1e-9
    b = a - 0.25
    for _ in range(N // 8):  # two independent chains, four calls each, hide the latency
        for _ in tl.static_range(4):
            a = tl.inline_asm_elementwise("ex2.approx.ftz.f32 $0, $1;", "=f,f", [a], tl.float32, True, 1)
            b = tl.inline_asm_elementwise("ex2.approx.ftz.f32 $0, $1;", "=f,f", [b], tl.float32, True, 1)
    tl.store(out + offs, a + b)


def launch(out: torch.Tensor) -> None:
    """Fills `out` with nested exponentials, EXPONENTIALS of them for each entry."""
    block = 1024
    _exp2_kernel[(out.numel() // block,)](out, N=EXPONENTIALS, BLOCK=block, num_warps=8)
