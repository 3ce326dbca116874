"""Validation of what callers pass: every ValueError names the argument, its value and what is expected."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from rlvr.divergence.record import NEEDS_IDS, NEEDS_Q, TOP_P_WANTS, WANTS, Request

FLOAT_DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def make_request(want: Iterable[str], temperature: float, top_p: float | None, has_q: bool) -> Request:
    """Returns the validated request.

    Raises ValueError for an unknown or missing name, a temperature that is not positive and finite, a top_p
    outside (0, 1], truncated statistics without top_p, and statistics of Q without Q.
    """
    names = frozenset((want,) if isinstance(want, str) else want)
    unknown = sorted(names.difference(WANTS))
    if unknown or not names:
        raise ValueError(
            f"want={sorted(names)}: {unknown or 'nothing'} is not known; expected some of {list(WANTS)}"
        )
    if not (isinstance(temperature, (int, float)) and 0.0 < temperature < math.inf):
        raise ValueError(f"temperature={temperature!r}: expected a positive, finite number")
    if top_p is not None and not 0.0 < top_p <= 1.0:
        raise ValueError(f"top_p={top_p!r}: expected a number in (0, 1]")
    if top_p is None and names & TOP_P_WANTS:
        raise ValueError(f"top_p=None: want={sorted(names & TOP_P_WANTS)} needs a number in (0, 1]")
    if not has_q and names & NEEDS_Q:
        raise ValueError(
            f"want={sorted(names & NEEDS_Q)} needs Q, but none was passed; pass it, or leave these out"
        )
    return Request(names, float(temperature), top_p)


def check_matrix(name: str, value: Tensor, like: Tensor | None = None, like_name: str = "") -> None:
    """Raises ValueError unless `value` is a 2-D floating matrix on the device of `like`."""
    if not isinstance(value, Tensor) or value.dim() != 2:
        shape = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"{name} has shape {shape}: expected a 2-D tensor, one row for each token position")
    if value.dtype not in FLOAT_DTYPES:
        raise ValueError(f"{name} has dtype {value.dtype}: expected one of {[str(d) for d in FLOAT_DTYPES]}")
    if like is not None and value.device != like.device:
        raise ValueError(f"{name} is on {value.device}: expected {like.device}, the device of {like_name}")


def check_same_shape(name: str, value: Tensor, like: Tensor, like_name: str) -> None:
    if value.shape != like.shape:
        raise ValueError(
            f"{name} has shape {list(value.shape)}: expected {list(like.shape)}, the shape of {like_name}"
        )


def check_vector(name: str, value: Tensor, n_tokens: int, device: torch.device, kind: str) -> None:
    """Raises ValueError unless `value` is a [T] tensor of the `kind` "ids", "bool" or "float" on the device."""
    if not isinstance(value, Tensor) or value.shape != (n_tokens,):
        shape = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(
            f"{name} has shape {shape}: expected [{n_tokens}], one entry for each token position"
        )
    dtypes = {
        "ids": (torch.int64, torch.int32),
        "bool": (torch.bool,),
        "float": (torch.float32, torch.float64),
    }[kind]
    if value.dtype not in dtypes:
        raise ValueError(f"{name} has dtype {value.dtype}: expected one of {[str(d) for d in dtypes]}")
    if value.device != device:
        raise ValueError(f"{name} is on {value.device}: expected {device}, the device of the logits")


def check_ids(ids: Tensor | None, request: Request, n_tokens: int, vocab: int, device: torch.device) -> None:
    """Raises ValueError if ids are missing although wanted, or malformed."""
    if ids is None:
        if request.want & NEEDS_IDS:
            raise ValueError(f"ids=None: want={sorted(request.want & NEEDS_IDS)} needs the sampled token ids")
        return
    check_vector("ids", ids, n_tokens, device, "ids")
    if vocab == 0 and n_tokens > 0:
        raise ValueError("the vocabulary is empty: expected at least one entry")


def check_id_range(ids: Tensor, vocab: int) -> None:
    """Raises ValueError if an id is outside [0, vocab). Waits for the device once."""
    if ids.numel() == 0:
        return
    low, high = torch.stack(torch.aminmax(ids)).tolist()
    if low < 0 or high >= vocab:
        wrong = low if low < 0 else high
        where = int((ids == wrong).nonzero()[0])
        raise ValueError(
            f"ids[{where}]={wrong}: expected an id in [0, {vocab}), the vocabulary of the logits"
        )


def check_finite_rows(name: str, lse: Tensor, first_row: int = 0) -> None:
    """Raises ValueError if a log-normaliser is NaN or +inf, that is, if its row holds NaN or +inf.

    A row that is -inf throughout has the log-normaliser -inf and passes: its statistics are NaN by contract.
    """
    bad = torch.isnan(lse) | (lse == math.inf)
    if bool(bad.any()):
        row = first_row + int(bad.nonzero()[0])
        raise ValueError(
            f"{name} holds NaN or +inf in row {row}: expected finite logits, or -inf for a barred token"
        )
