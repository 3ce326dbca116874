"""`linear_dist_stats`: token statistics from hidden states and lm_head weights, without ever holding [T, V]."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from rlvr.divergence import checks
from rlvr.divergence.backends import Compute, choose_backend
from rlvr.divergence.record import DistStats, Request

MODES = ("auto", "fp32", "delta", "bf16")
CPU_CHUNK_ROWS = 64  # enough rows to make the GEMM read the weights seldom ...
CPU_CHUNK_ELEMENTS = 1 << 20  # ... and, for a small vocabulary, few enough logits to stay in the cache
WEIGHT_BLOCK_ROWS = 4096  # rows of a half-precision head converted to fp32 at a time, where the GEMM needs it

Gemm = Callable[[Tensor, Tensor, Tensor], None]  # (hidden [R, H], weight [V, H], out [R, V])


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
    max_workspace_mb: float = 1300.0,
    backend: str = "auto",
    validate: bool = True,
) -> DistStats:
    """Computes statistics of policy P and base Q for every token position, P = softmax(hidden_p weight_p^T).

    The logits exist for a chunk of rows at a time, in buffers that all chunks share. With Q absent this is the
    plain log-probability and entropy pass. Under ZeRO-3 the caller gathers the weights for the time of the call.

    Args:
        hidden_p: [T, H_p] final hidden states of P; fp32, bf16 or fp16.
        weight_p: [V, H_p] lm_head of P, same dtype.
        hidden_q: [T, H_q] hidden states of Q; may be left out if no statistic of Q is wanted.
        weight_q: [V, H_q] lm_head of Q; None means that Q shares weight_p.
        ids, want, temperature, top_p, backend, validate: as in `dist_stats`.
        mask: [T] bool; positions where it is False are skipped and hold 0.
        logits: how logits are made. "fp32": GEMMs with fp32 output. "delta" (only with a shared head):
            [hidden_q; hidden_p - hidden_q] weight^T, so that small differences keep their precision; on a GPU the
            difference is rounded to the dtype of the hidden states. "bf16": output rounded to the dtype of the
            inputs. "auto": "delta" for a shared head on a CPU or in fp32, "fp32" otherwise.
        max_workspace_mb: ceiling, in MB of 10^6 bytes, for the logits of one chunk; never a target.

    Returns:
        DistStats with one [T] tensor for each wanted name, as `dist_stats` does.

    Raises:
        ValueError: as `dist_stats`; also hidden sizes that do not fit the weights, "delta" without a shared head,
            and a workspace too small for one row.
    """
    request = checks.make_request(want, temperature, top_p, hidden_q is not None)
    _check_inputs(hidden_p, weight_p, hidden_q, weight_q)
    n_tokens, vocab, device = hidden_p.shape[0], weight_p.shape[0], hidden_p.device
    checks.check_ids(ids, request, n_tokens, vocab, device)
    shared = weight_q is None or weight_q is weight_p
    mode = _choose_mode(logits, shared, hidden_p)
    compute = choose_backend(backend, device, request)
    with torch.no_grad():
        positions = None
        if mask is not None:
            checks.check_vector("mask", mask, n_tokens, device, "bool")
            positions = mask.nonzero()[:, 0]
            hidden_p = hidden_p.index_select(0, positions)
            hidden_q = None if hidden_q is None else hidden_q.index_select(0, positions)
            ids = None if ids is None else ids.index_select(0, positions)
        if validate and ids is not None:
            checks.check_id_range(ids, vocab)
        out = DistStats.empty(request.want, hidden_p.shape[0], device)
        heads = (weight_p.detach(), (weight_p if shared else weight_q).detach())
        states = (hidden_p.detach(), hidden_q.detach() if request.needs_q else None)
        _run_chunks(compute, states, heads, ids, request, mode, max_workspace_mb, out)
        return out if positions is None else out.scatter(positions, n_tokens)


def _check_inputs(
    hidden_p: Tensor, weight_p: Tensor, hidden_q: Tensor | None, weight_q: Tensor | None
) -> None:
    checks.check_matrix("hidden_p", hidden_p)
    checks.check_matrix("weight_p", weight_p, hidden_p, "hidden_p")
    _check_head("hidden_p", hidden_p, "weight_p", weight_p)
    if hidden_q is None:
        if weight_q is not None:
            raise ValueError("hidden_q=None but weight_q was passed: expected both, or hidden_q alone")
        return
    checks.check_matrix("hidden_q", hidden_q, hidden_p, "hidden_p")
    if hidden_q.shape[0] != hidden_p.shape[0]:
        raise ValueError(
            f"hidden_q has {hidden_q.shape[0]} rows: expected {hidden_p.shape[0]}, those of hidden_p"
        )
    if weight_q is None:
        _check_head("hidden_q", hidden_q, "weight_p", weight_p)
        return
    checks.check_matrix("weight_q", weight_q, hidden_p, "hidden_p")
    _check_head("hidden_q", hidden_q, "weight_q", weight_q)
    if weight_q.shape[0] != weight_p.shape[0]:
        raise ValueError(
            f"weight_q has {weight_q.shape[0]} rows: expected {weight_p.shape[0]}, the vocabulary of P"
        )


def _check_head(hidden_name: str, hidden: Tensor, weight_name: str, weight: Tensor) -> None:
    if hidden.shape[1] != weight.shape[1]:
        raise ValueError(
            f"{hidden_name} has hidden size {hidden.shape[1]}: expected {weight.shape[1]}, that of {weight_name}"
        )
    if hidden.dtype != weight.dtype:
        raise ValueError(
            f"{hidden_name} has dtype {hidden.dtype}: expected {weight.dtype}, that of {weight_name}"
        )


def _choose_mode(logits: str, shared: bool, hidden: Tensor) -> str:
    if logits not in MODES:
        raise ValueError(f"logits={logits!r}: expected one of {list(MODES)}")
    if logits == "delta" and not shared:
        raise ValueError("logits='delta' needs one lm_head for P and Q, but weight_q was passed; use 'fp32'")
    if logits != "auto":
        return logits
    return "delta" if shared and (hidden.device.type == "cpu" or hidden.dtype == torch.float32) else "fp32"


def _chunk_rows(
    n_tokens: int, vocab: int, n_buffers: int, itemsize: int, device: torch.device, max_mb: float
) -> int:
    row_mb = vocab * n_buffers * itemsize / 1e6
    fitting = int(max_mb / row_mb) if row_mb > 0 else n_tokens
    if fitting < 1:
        raise ValueError(
            f"max_workspace_mb={max_mb}: expected at least {row_mb:.3f}, which one row of logits takes"
        )
    if device.type == "cpu":
        fitting = min(fitting, max(CPU_CHUNK_ROWS, CPU_CHUNK_ELEMENTS // vocab))
    return max(1, min(fitting, n_tokens))


def _run_chunks(
    compute: Compute,
    states: tuple[Tensor, Tensor | None],
    heads: tuple[Tensor, Tensor],
    ids: Tensor | None,
    request: Request,
    mode: str,
    max_workspace_mb: float,
    out: DistStats,
) -> None:
    hidden_p, hidden_q = states
    n_tokens, vocab = hidden_p.shape[0], heads[0].shape[0]
    dtype = hidden_p.dtype if mode == "bf16" else torch.float32
    n_buffers = 1 if hidden_q is None else 2
    step = _chunk_rows(n_tokens, vocab, n_buffers, dtype.itemsize, hidden_p.device, max_workspace_mb)
    buffers = [torch.empty(step, vocab, dtype=dtype, device=hidden_p.device) for _ in range(n_buffers)]
    for start in range(0, n_tokens, step):
        rows = slice(start, min(start + step, n_tokens))
        chunk = [buffer[: rows.stop - start] for buffer in buffers]
        chunk_ids, chunk_out = None if ids is None else ids[rows], out.rows(rows)
        if hidden_q is None:
            _gemm(hidden_p[rows], heads[0], chunk[0])
            compute(chunk[0], None, chunk_ids, request, chunk_out)
        elif mode == "delta":
            _gemm(hidden_q[rows], heads[1], chunk[1])
            _gemm(hidden_p[rows], heads[0], chunk[0], minus=hidden_q[rows])
            compute(None, chunk[1], chunk_ids, request, chunk_out, delta=chunk[0])
        else:
            _gemm(hidden_p[rows], heads[0], chunk[0])
            _gemm(hidden_q[rows], heads[1], chunk[1])
            compute(chunk[0], chunk[1], chunk_ids, request, chunk_out)


def _gemm(hidden: Tensor, weight: Tensor, out: Tensor, minus: Tensor | None = None) -> None:
    """Writes (hidden - minus) weight^T into `out` [R, V], accumulated in fp32 and rounded only to out's dtype."""
    if hidden.dtype == out.dtype:
        torch.mm(hidden if minus is None else hidden - minus, weight.t(), out=out)
    elif hidden.device.type == "cuda":
        torch.mm(hidden if minus is None else hidden - minus, weight.t(), out_dtype=out.dtype, out=out)
    else:
        # A CPU has no mixed-dtype GEMM; a whole fp32 copy of the head would be larger than the workspace.
        hidden = hidden.float() if minus is None else hidden.float() - minus.float()
        for start in range(0, weight.shape[0], WEIGHT_BLOCK_ROWS):
            block = slice(start, start + WEIGHT_BLOCK_ROWS)
            torch.mm(hidden, weight[block].float().t(), out=out[:, block])
