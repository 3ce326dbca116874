"""Which code computes the statistics: chosen from device and request, or forced, never switched in silence."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from rlvr.divergence.oracle import oracle_stats
from rlvr.divergence.record import DistStats, Request
from rlvr.divergence.reference import reference_stats

BACKENDS = ("auto", "oracle", "torch", "triton", "cuda")


class Compute(Protocol):
    """Writes the wanted statistics of logits x (P) and y (Q), [T, V], into `out`; x is None if delta is given."""

    def __call__(
        self,
        x: Tensor | None,
        y: Tensor | None,
        ids: Tensor | None,
        request: Request,
        out: DistStats,
        delta: Tensor | None = None,
        lse_p: Tensor | None = None,
        lse_q: Tensor | None = None,
    ) -> None: ...


def choose_backend(name: str, device: torch.device, request: Request) -> Compute:
    """Returns the backend `name`; "auto" means Triton on a CUDA device and torch elsewhere.

    Raises ValueError if the name is unknown or the backend cannot run here, and says why.
    """
    if name not in BACKENDS:
        raise ValueError(f"backend={name!r}: expected one of {list(BACKENDS)}")
    if name == "oracle":
        return oracle_stats
    if name == "torch" or (name == "auto" and device.type != "cuda"):
        return reference_stats
    raise ValueError(f"backend={name!r} cannot run on {device}: not available yet")
