"""Which code computes the statistics: chosen by device and request, or forced, never switched in silence."""

from __future__ import annotations

import importlib.util
import os
import warnings
from collections.abc import Callable

import torch

from rlvr.divergence.oracle import oracle_stats
from rlvr.divergence.record import DistStats, Rows, StatsRequest
from rlvr.divergence.torch_backend import torch_stats

BACKENDS = ("auto", "oracle", "torch", "triton", "cuda")

# Writes the wanted statistics of the rows into the record. Raises ValueError for NaN or +inf logits.
Compute = Callable[[Rows, StatsRequest, DistStats], None]


def choose_backend(name: str, device: torch.device, request: StatsRequest) -> Compute:
    """Returns the backend `name`; "auto" means Triton on a CUDA device and torch elsewhere.

    The CUDA kernel covers part of the statistics on part of the inputs: where it does not, Triton computes them
    and a warning says why.

    Raises ValueError if the name is unknown or the backend cannot run here, and says why.
    """
    chosen, why = backend_in_use(name, device.type)
    if name == "auto" and device.type == "cuda" and chosen == "torch":
        warnings.warn(f"divergence: using the torch backend on {device}, because {why}", stacklevel=3)
    if chosen == "oracle":
        return oracle_stats
    if chosen == "torch":
        return torch_stats
    if chosen == "cuda":
        from rlvr.divergence.cuda_backend import cuda_stats

        return cuda_stats
    from rlvr.divergence.triton_backend import triton_stats

    return triton_stats


def backend_in_use(name: str, device_type: str) -> tuple[str, str]:
    """Which backend the name means on this type of device ("cpu", "cuda"), and why.

    Raises ValueError as `choose_backend` does; needs no device of that type.
    """
    if name not in BACKENDS:
        raise ValueError(f"backend={name!r}: expected one of {list(BACKENDS)}")
    if name in ("oracle", "torch"):
        return name, "it was asked for"
    if name == "auto" and device_type != "cuda":
        return "torch", f"the logits are on {device_type}"
    why = _triton_obstacle(device_type)
    if why:
        if name != "auto":
            raise ValueError(f"backend={name!r} cannot run: {why}")
        return "torch", why
    if name == "cuda" and device_type != "cuda":
        raise ValueError(f"backend='cuda' cannot run: the logits are on {device_type}, not on a CUDA device")
    return ("triton", "the logits are on a GPU") if name == "auto" else (name, "it was asked for")


def _triton_obstacle(device_type: str) -> str:
    """Says why Triton cannot serve this type of device, or returns an empty string."""
    if importlib.util.find_spec("triton") is None:
        return "the package 'triton' is not installed"
    if device_type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        return f"the logits are on {device_type}; Triton needs a CUDA device (or TRITON_INTERPRET=1)"
    return ""
