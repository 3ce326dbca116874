"""Which code computes the statistics: chosen by device and request, or forced, never switched in silence."""

from __future__ import annotations

from collections.abc import Callable

import torch

from rlvr.divergence.oracle import oracle_stats
from rlvr.divergence.record import DistStats, Request, Rows
from rlvr.divergence.reference import reference_stats

BACKENDS = ("auto", "oracle", "torch", "triton", "cuda")

# Writes the wanted statistics of the rows into the record. Raises ValueError for NaN or +inf logits.
Compute = Callable[[Rows, Request, DistStats], None]


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
