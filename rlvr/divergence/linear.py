"""`linear_dist_stats`: token statistics from hidden states and lm_head weights, never holding [T, V]."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rlvr.divergence import checks
from rlvr.divergence.backends import Compute, choose_backend
from rlvr.divergence.record import DistStats, Rows, StatsRequest
from rlvr.divergence.transform import IDENTITY, OutputTransform

MODES = ("auto", "fp32", "delta", "bf16")
CPU_CHUNK_ROWS = 64  # enough rows for the GEMM to read the weights seldom ...
CPU_CHUNK_ELEMENTS = 1 << 17  # ... and, with a small vocabulary, few enough logits to stay in the cache
GPU_TILE_ROWS = 128  # chunks of whole GEMM tiles
WEIGHT_BLOCK_ROWS = 4096  # of a half-precision head, converted to fp32 at a time where the GEMM needs it


@dataclass(frozen=True, slots=True)
class LogitSource:
    """Where the logits of P or Q come from."""

    hidden: Tensor  # [T, H]
    weight: Tensor  # [V, H]
    transform: OutputTransform


def linear_dist_stats(
    hidden_p: Tensor,
    weight_p: Tensor,
    hidden_q: Tensor | None = None,
    weight_q: Tensor | None = None,
    ids: Tensor | None = None,
    *,
    want: Iterable[str] = ("js",),
    temperature: float = 1.0,
    top_p: float | None = None,
    mask: Tensor | None = None,
    logits: str = "auto",
    transform_p: OutputTransform = IDENTITY,
    transform_q: OutputTransform = IDENTITY,
    max_workspace_mb: float = 1300.0,
    backend: str = "auto",
    validate: bool = True,
) -> DistStats:
    """Computes statistics of policy P = softmax(hidden_p weight_p^T) and base Q for every token position.

    The logits of a chunk of rows exist at a time, in buffers that all chunks share. With Q absent this is the
    plain log-probability and entropy pass. Under ZeRO-3 the caller gathers the weights around the call.

    Args:
        hidden_p: [T, H_p] final hidden states of P; fp32, bf16 or fp16.
        weight_p: [V, H_p] lm_head of P, same dtype.
        hidden_q: [T, H_q] hidden states of Q; may be left out if no statistic of Q is wanted.
        weight_q: [V, H_q] lm_head of Q; None means that Q shares weight_p.
        ids, want, temperature, top_p, backend, validate: as in `dist_stats`.
        mask: [T] bool; positions where it is False are skipped and hold 0.
        logits: how logits are made. "fp32": GEMMs with fp32 output. "delta" (only with a shared head): logits
            of Q and hidden_p - hidden_q times the head, so that small differences keep their precision; on a
            GPU the difference is rounded to the dtype of the hidden states. "bf16": logits rounded to the
            dtype of the hidden states. "auto": "delta" with a shared head, on a CPU or in fp32; else "fp32".
        transform_p, transform_q: from the outputs of each head to its logits; "delta" needs the identity.
        max_workspace_mb: ceiling, in MB of 10^6 bytes, for the logits of one chunk; less is taken if that is
            as fast. A few cache-sized buffers (CPU) come on top.

    Returns:
        DistStats with one [T] tensor for each wanted name, as `dist_stats` does.

    Raises:
        ValueError: as `dist_stats`; also hidden sizes or dtypes that do not fit the weights, "delta" without
            a shared head or with a transform, and a workspace too small for one row.
    """
    request = checks.make_request(want, temperature, top_p, hidden_q is not None, validate)
    _check_inputs(hidden_p, weight_p, hidden_q, weight_q)
    n_tokens, vocab, device = hidden_p.shape[0], weight_p.shape[0], hidden_p.device
    checks.check_ids(ids, request, n_tokens, device)
    same = weight_q is None or (weight_q.data_ptr(), weight_q.shape) == (weight_p.data_ptr(), weight_p.shape)
    plain = transform_p.is_identity and transform_q.is_identity
    mode = _choose_mode(logits, same, plain, hidden_p)
    compute = choose_backend(backend, device, request)
    with torch.no_grad():
        positions = None
        if mask is not None:
            checks.check_vector("mask", mask, n_tokens, device, checks.MASK_DTYPES)
            positions = mask.nonzero()[:, 0]
            hidden_p = hidden_p.index_select(0, positions)
            hidden_q = None if hidden_q is None else hidden_q.index_select(0, positions)
            ids = None if ids is None else ids.index_select(0, positions)
        if validate and ids is not None:
            checks.check_id_range(ids, vocab)
        sides = [LogitSource(hidden_p.detach(), weight_p.detach(), transform_p)]
        if hidden_q is not None and request.needs_q:
            head_q = weight_p if weight_q is None else weight_q
            sides.append(LogitSource(hidden_q.detach(), head_q.detach(), transform_q))
        out = _run_chunks(compute, sides, ids, request, mode, max_workspace_mb)
        return out if positions is None else out.scatter(positions, n_tokens)


def _check_inputs(
    hidden_p: Tensor, weight_p: Tensor, hidden_q: Tensor | None, weight_q: Tensor | None
) -> None:
    checks.check_matrix("hidden_p", hidden_p)
    _check_head("hidden_p", hidden_p, "weight_p", weight_p, hidden_p.device)
    checks.check_vocabulary(weight_p.shape[0])
    if hidden_q is None:
        if weight_q is not None:
            raise ValueError("hidden_q=None but weight_q was passed: expected both, or hidden_q alone")
        return
    checks.check_matrix("hidden_q", hidden_q, hidden_p.device)
    if hidden_q.shape[0] != hidden_p.shape[0]:
        raise ValueError(
            f"hidden_q has {hidden_q.shape[0]} rows: expected {hidden_p.shape[0]}, as hidden_p has"
        )
    if weight_q is None:
        _check_head("hidden_q", hidden_q, "weight_p", weight_p, hidden_p.device)
        return
    _check_head("hidden_q", hidden_q, "weight_q", weight_q, hidden_p.device)
    if weight_q.shape[0] != weight_p.shape[0]:
        raise ValueError(
            f"weight_q has {weight_q.shape[0]} rows: expected {weight_p.shape[0]}, as weight_p has"
        )


def _check_head(hidden_name: str, hidden: Tensor, name: str, weight: Tensor, device: torch.device) -> None:
    checks.check_matrix(name, weight, device)
    if hidden.shape[1] != weight.shape[1]:
        raise ValueError(
            f"{hidden_name} has hidden size {hidden.shape[1]}: expected {weight.shape[1]}, that of {name}"
        )
    if hidden.dtype != weight.dtype:
        raise ValueError(f"{hidden_name} has dtype {hidden.dtype}: expected {weight.dtype}, that of {name}")


def _choose_mode(logits: str, shared: bool, plain: bool, hidden: Tensor) -> str:
    if logits not in MODES:
        raise ValueError(f"logits={logits!r}: expected one of {list(MODES)}")
    if logits == "delta" and not shared:
        raise ValueError("logits='delta' needs one lm_head for P and Q, but weight_q was passed: use 'fp32'")
    if logits == "delta" and not plain:
        raise ValueError("logits='delta' knows no transform of the logits, but one was passed: use 'fp32'")
    if logits != "auto":
        return logits
    precise = hidden.device.type == "cpu" or hidden.dtype == torch.float32
    return "delta" if shared and plain and precise else "fp32"


def chunk_rows(n_tokens: int, vocab: int, bytes_per_row: int, device: torch.device, max_mb: float) -> int:
    """Returns how many rows of logits to make at a time. Raises ValueError if not even one fits `max_mb`."""
    fitting = int(max_mb * 1e6 // bytes_per_row)
    if fitting < 1:
        raise ValueError(
            f"max_workspace_mb={max_mb}: expected at least {bytes_per_row / 1e6}, the logits of one row"
        )
    if device.type == "cpu":
        fitting = min(fitting, max(CPU_CHUNK_ROWS, CPU_CHUNK_ELEMENTS * torch.get_num_threads() // vocab))
    elif fitting > GPU_TILE_ROWS:
        fitting -= fitting % GPU_TILE_ROWS
    return max(1, min(fitting, n_tokens))


def _run_chunks(
    compute: Compute,
    sides: list[LogitSource],
    ids: Tensor | None,
    request: StatsRequest,
    mode: str,
    max_workspace_mb: float,
) -> DistStats:
    """Runs GEMMs and `compute` on chunks of rows in turn; `sides` are those of P and Q."""
    hidden, weight = sides[0].hidden, sides[0].weight
    n_tokens, vocab = hidden.shape[0], weight.shape[0]
    dtype = hidden.dtype if mode == "bf16" else torch.float32
    delta = mode == "delta" and len(sides) == 2
    bytes_per_row = vocab * len(sides) * dtype.itemsize
    step = chunk_rows(n_tokens, vocab, bytes_per_row, hidden.device, max_workspace_mb)
    # On a GPU a look at each chunk would make the host wait each time: all normalisers are looked at in the end.
    looked_at = ("lse_p", "lse_q")[: len(sides)] if request.validate and hidden.device.type == "cuda" else ()
    inner = replace(request, want=request.want.union(looked_at), validate=request.validate and not looked_at)
    out = DistStats.empty(inner.want, n_tokens, hidden.device)
    buffers = [torch.empty(step, vocab, dtype=dtype, device=hidden.device) for _ in sides]
    for start in range(0, n_tokens, step):
        part = slice(start, min(start + step, n_tokens))
        made = [buffer[: part.stop - start] for buffer in buffers]
        for i, side in enumerate(sides):
            minus = sides[1].hidden[part] if delta and i == 0 else None
            gemm(side.hidden[part], side.weight, made[i], minus=minus)
            side.transform.apply_(made[i])
        y = made[1] if len(sides) == 2 else None
        chunk_ids = None if ids is None else ids[part]
        compute(Rows(made[0], y, chunk_ids, x_is_delta=delta, first=start), inner, out.rows(part))
    for name in looked_at:
        checks.check_finite_rows(name.replace("lse", "logits"), getattr(out, name))
    return out.only(request.want)


def gemm(hidden: Tensor, weight: Tensor, out: Tensor, minus: Tensor | None = None) -> None:
    """Writes (hidden - minus) weight^T into `out` [R, V], accumulated in fp32, rounded to out's dtype."""
    if hidden.dtype == out.dtype:
        torch.mm(hidden if minus is None else hidden - minus, weight.t(), out=out)
    elif hidden.device.type == "cuda":
        torch.mm(hidden if minus is None else hidden - minus, weight.t(), out_dtype=out.dtype, out=out)
    else:
        # A CPU has no GEMM of mixed dtypes; an fp32 copy of the whole head would dwarf the workspace.
        hidden = hidden.float() if minus is None else hidden.float() - minus.float()
        for start in range(0, weight.shape[0], WEIGHT_BLOCK_ROWS):
            block = slice(start, start + WEIGHT_BLOCK_ROWS)
            torch.mm(hidden, weight[block].float().t(), out=out[:, block])
