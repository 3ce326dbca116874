"""Validation of what callers pass: every ValueError names the argument, its value and what is expected."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from rlvr.divergence.record import NEEDS_IDS, NEEDS_Q, TOP_P_WANTS, WANTS, StatsRequest

LOGIT_DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
ID_DTYPES = (torch.int64, torch.int32)
MASK_DTYPES = (torch.bool,)
LSE_DTYPES = (torch.float32, torch.float64)


class NotFiniteError(ValueError):
    """Logits hold NaN or +inf: the model that gave them is damaged, or has diverged."""


def make_request(
    want: Iterable[str], temperature: float, top_p: float | None, has_q: bool, validate: bool
) -> StatsRequest:
    """Returns the validated request.

    Raises ValueError for an unknown or missing name, a temperature that is not positive and finite, a top_p
    outside (0, 1], truncated statistics without top_p, and statistics of Q without Q.
    """
    names = frozenset((want,) if isinstance(want, str) else want)
    unknown = sorted(names.difference(WANTS))
    if unknown or not names:
        raise ValueError(
            f"want={sorted(names)}: {unknown or 'nothing'} unknown; expected some of {list(WANTS)}"
        )
    if not (isinstance(temperature, (int, float)) and 0.0 < temperature < math.inf):
        raise ValueError(f"temperature={temperature!r}: expected a positive, finite number")
    if top_p is not None and not 0.0 < top_p <= 1.0:
        raise ValueError(f"top_p={top_p!r}: expected a number in (0, 1]")
    truncated = sorted(names.intersection(TOP_P_WANTS))
    if top_p is None and truncated:
        raise ValueError(f"top_p=None: want={truncated} needs a number in (0, 1]")
    if not has_q and names & NEEDS_Q:
        raise ValueError(f"want={sorted(names & NEEDS_Q)} needs Q, but none was passed: pass it or want less")
    return StatsRequest(names, float(temperature), top_p, validate)


def check_matrix(name: str, value: Tensor, device: torch.device | None = None) -> None:
    """Raises ValueError unless `value` is a 2-D floating matrix, on `device` if that is given."""
    if not isinstance(value, Tensor) or value.dim() != 2:
        raise ValueError(
            f"{name} is {_describe(value)}: expected a 2-D tensor, one row for each token position"
        )
    _check_dtype(name, value, LOGIT_DTYPES)
    if device is not None and value.device != device:
        raise ValueError(f"{name} is on {value.device}: expected {device}, the device of P")


def check_vector(
    name: str, value: Tensor, n_tokens: int, device: torch.device, dtypes: tuple[torch.dtype, ...]
) -> None:
    """Raises ValueError unless `value` is a [T] tensor of one of the dtypes on the device."""
    if not isinstance(value, Tensor) or value.shape != (n_tokens,):
        raise ValueError(
            f"{name} is {_describe(value)}: expected shape [{n_tokens}], an entry for each position"
        )
    _check_dtype(name, value, dtypes)
    if value.device != device:
        raise ValueError(f"{name} is on {value.device}: expected {device}, the device of P")


def _describe(value: object) -> str:
    return (
        f"a tensor of shape {list(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
    )


def _check_dtype(name: str, value: Tensor, dtypes: tuple[torch.dtype, ...]) -> None:
    if value.dtype not in dtypes:
        raise ValueError(f"{name} has dtype {value.dtype}: expected {' or '.join(str(d) for d in dtypes)}")


def check_ids(ids: Tensor | None, request: StatsRequest, n_tokens: int, device: torch.device) -> None:
    """Raises ValueError if ids are missing although wanted, or malformed."""
    if ids is not None:
        check_vector("ids", ids, n_tokens, device, ID_DTYPES)
    elif request.want & NEEDS_IDS:
        raise ValueError(f"ids=None: want={sorted(request.want & NEEDS_IDS)} needs the sampled token ids")


def check_vocabulary(vocab: int) -> None:
    """Raises ValueError for an empty vocabulary."""
    if vocab < 1:
        raise ValueError("the vocabulary has 0 entries: expected at least 1")


def check_id_range(ids: Tensor, vocab: int) -> None:
    """Raises ValueError if an id is outside [0, vocab). Waits for the device once."""
    if ids.numel() == 0:
        return
    low, high = (int(bound) for bound in torch.stack(torch.aminmax(ids)).tolist())
    if low < 0 or high >= vocab:
        wrong = low if low < 0 else high
        where = int((ids == wrong).nonzero()[0])
        raise ValueError(f"ids[{where}]={wrong}: expected an id in [0, {vocab}), the vocabulary")


def check_finite_rows(name: str, lse: Tensor, first_row: int = 0) -> None:
    """Raises NotFiniteError if a log-normaliser (or row maximum) is NaN or +inf, that is, its row holds one.

    A row that is -inf throughout has the log-normaliser -inf and passes: its statistics are NaN by contract.
    """
    bad = ~(lse < math.inf)
    if bool(bad.any()):
        row = first_row + int(bad.nonzero()[0])
        raise NotFiniteError(
            f"{name} holds NaN or +inf in row {row}: expected finite numbers, -inf for barred tokens"
        )
