"""What the machine can do at best: copy bandwidth, matmul rate, exponentials a second."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from benchmarks.divergence.measure import measure


@dataclass(frozen=True, slots=True)
class Ceilings:
    """Rates measured in this run."""

    copy_gb_s: float  # bytes read plus bytes written
    matmul_tflop_s: float
    exp2_g_s: float  # 10^9 exponentials a second, by a kernel that does nothing else


def measure_ceilings(device: torch.device) -> Ceilings:
    """Measures the three rates on the device, in bf16 (GPU) or fp32 (CPU)."""
    cuda = device.type == "cuda"
    source = torch.empty(1 << (31 if cuda else 26), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copy = measure(lambda: target.copy_(source), device)
    size = 8192 if cuda else 1024
    a = torch.randn(size, size, device=device, dtype=torch.bfloat16 if cuda else torch.float32)
    matmul = measure(lambda: a @ a, device)
    return Ceilings(
        copy_gb_s=2 * source.numel() / copy.p50_ms / 1e6,
        matmul_tflop_s=2 * size**3 / matmul.p50_ms / 1e9,
        exp2_g_s=_exp2_rate(device),
    )


def _exp2_rate(device: torch.device) -> float:
    if device.type != "cuda":
        values = torch.randn(1 << 16)
        out = torch.empty_like(values)
        return values.numel() / measure(lambda: torch.exp2(values, out=out), device).p50_ms / 1e6
    from benchmarks.divergence.exp2_kernel import EXPONENTIALS, launch

    out = torch.empty(1 << 24, device=device)
    return out.numel() * EXPONENTIALS / measure(lambda: launch(out), device).p50_ms / 1e6
