"""Launches the Triton kernel."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from triton import knobs

from rlvr.divergence.checks import check_finite_rows
from rlvr.divergence.record import TOP_P_WANTS, DistStats, Rows, StatsRequest
from rlvr.divergence.top_p import nucleus_threshold
from rlvr.divergence.triton_kernel import stats_kernel

INTERPRET = bool(knobs.runtime.interpret)
COPY_ELEMENTS = 1 << 26  # logits of one side copied or sorted at a time, where that cannot be avoided
FLOAT_OUTPUTS = ("js", "kl_pq", "kl_qp", "entropy_p", "entropy_q", "logp_p", "logp_q", "lse_p", "lse_q")
INDEX_OUTPUTS = ("argmax_p", "argmax_q", "rank_p_in_q", "rank_q_in_p")


def triton_stats(rows: Rows, request: StatsRequest, out: DistStats) -> None:
    """Writes the wanted statistics of `rows` into `out`, computed in fp32 on the GPU.

    Raises ValueError for NaN or +inf logits, unless the request says not to look.
    """
    plain = request.want.difference(TOP_P_WANTS)
    truncated = request.want.intersection(TOP_P_WANTS)
    step = rows.x.shape[0]
    if truncated or not _unit_stride(rows):
        step = min(step, max(1, COPY_ELEMENTS // rows.x.shape[1]))
    for start in range(0, rows.x.shape[0], step):
        part = slice(start, min(start + step, rows.x.shape[0]))
        chunk = _with_unit_stride(rows[part])
        if plain or request.validate:
            launch(chunk, request, out.rows(part))
        if truncated and request.top_p is not None and chunk.y is not None:
            x = chunk.x + chunk.y if chunk.x_is_delta else chunk.x
            low = [
                nucleus_threshold(side, request.top_p, request.temperature).float() for side in (x, chunk.y)
            ]
            names = {name.removesuffix("_top_p"): getattr(out, name)[part] for name in truncated}
            pair = StatsRequest(frozenset(names), request.temperature, validate=False)
            launch(Rows(x, chunk.y), pair, DistStats(**names), (low[0], low[1]))


def _unit_stride(rows: Rows) -> bool:
    return rows.x.stride(1) == 1 and (rows.y is None or rows.y.stride(1) == 1)


def _with_unit_stride(rows: Rows) -> Rows:
    if _unit_stride(rows) and rows.x.dtype != torch.float64:
        return rows
    dtype = torch.float32 if rows.x.dtype == torch.float64 else rows.x.dtype
    y = None if rows.y is None else rows.y.to(dtype).contiguous()
    x = rows.x.to(dtype).contiguous()
    return Rows(x, y, rows.ids, rows.lse_p, rows.lse_q, rows.x_is_delta, rows.first)


def tile_shape(vocab: int, itemsize: int) -> tuple[int, int, int]:
    """Returns (lanes, entries a lane reads at once, warps) for rows of `vocab` entries of `itemsize` bytes."""
    vec = 16 // itemsize  # one 16-byte load
    warps = 1 if vocab <= 1024 else 4 if vocab <= 16384 else 8
    return 32 * warps, vec, warps


def launch(
    rows: Rows, request: StatsRequest, out: DistStats, low: tuple[Tensor, Tensor] | None = None
) -> None:
    """Runs the kernel over all rows; `low` truncates each row to logits of at least that."""
    x, y = rows.x, rows.y
    n_tokens, vocab = x.shape
    lanes, vec, warps = tile_shape(vocab, max(x.element_size(), 0 if y is None else y.element_size()))
    dummy = x.new_empty(1, dtype=torch.float32)
    lse = [
        getattr(out, name) if request.has(name) else x.new_empty(n_tokens, dtype=torch.float32)
        for name in ("lse_p", "lse_q")
    ]
    outputs = [
        getattr(out, name) if request.has(name) else dummy for name in FLOAT_OUTPUTS[:-2] + INDEX_OUTPUTS
    ]
    given = [None if side is None else side.float().contiguous() for side in (rows.lse_p, rows.lse_q)]
    find_arg = request.has("argmax_p", "argmax_q")
    find_rank = request.has("rank_p_in_q", "rank_q_in_p")
    # Both arg-maxes and both ranks come together: what was not asked for goes to a buffer that is dropped.
    spare = x.new_empty(n_tokens, dtype=torch.int64) if find_arg or find_rank else dummy
    outputs[-4:] = [spare if value is dummy else value for value in outputs[-4:]]
    with torch.cuda.device_of(x):
        stats_kernel[(n_tokens,)](
            x, x if y is None else y, dummy if rows.ids is None else rows.ids,
            *(dummy if value is None else value for value in given),
            *(low if low is not None else (dummy, dummy)),
            *outputs[:7], *lse, *outputs[7:],
            vocab, x.stride(0), 0 if y is None else y.stride(0), math.log2(math.e) / request.temperature,
            HAS_Q=y is not None, DELTA=rows.x_is_delta, TRUNCATE=low is not None,
            GIVEN_P=given[0] is not None, GIVEN_Q=given[1] is not None,
            JS=request.has("js"), KL_PQ=request.has("kl_pq"), KL_QP=request.has("kl_qp"),
            ENTROPY_P=request.has("entropy_p"), ENTROPY_Q=request.has("entropy_q"),
            LOGP_P=request.has("logp_p"), LOGP_Q=request.has("logp_q"), ARGMAX=find_arg, RANK=find_rank,
            LANES=lanes, VEC=vec, INTERPRET=INTERPRET, num_warps=warps, enable_fp_fusion=True,
        )  # fmt: skip
    if request.validate:
        check_finite_rows("logits_p", lse[0], rows.first)
        if y is not None:
            check_finite_rows("logits_q", lse[1], rows.first)
