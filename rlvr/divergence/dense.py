"""`dist_stats`: token statistics from logits that already exist."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from rlvr.divergence import checks
from rlvr.divergence.backends import Compute, choose_backend
from rlvr.divergence.record import DistStats, Rows, StatsRequest

MASKED_CHUNK_ELEMENTS = 1 << 22  # logits of one side that are gathered at a time where there is a mask


def dist_stats(
    logits_p: Tensor,
    logits_q: Tensor | None = None,
    ids: Tensor | None = None,
    *,
    want: Iterable[str] = ("js",),
    temperature: float = 1.0,
    top_p: float | None = None,
    mask: Tensor | None = None,
    lse_p: Tensor | None = None,
    lse_q: Tensor | None = None,
    backend: str = "auto",
    validate: bool = True,
) -> DistStats:
    """Computes statistics of policy P and base Q for every token position from their logits.

    Args:
        logits_p: [T, V] logits of P: fp32, bf16, fp16 or fp64, any strides; computed in fp32 (oracle: fp64).
        logits_q: [T, V] logits of Q; may be left out if no statistic of Q is wanted.
        ids: [T] int64 or int32 sampled tokens, needed for "logp_p" and "logp_q".
        want: names among `WANTS`; nothing else is computed.
        temperature: divides both logits.
        top_p: nucleus share of the "*_top_p" statistics, in (0, 1]. Each row is truncated on its own, all
            ties of the last token kept, and renormalised. JS over the union; KL +inf where supports differ.
        mask: [T] bool; positions where it is False are skipped and hold 0.
        lse_p, lse_q: [T] log-normalisers of logits / temperature, if known; saves a pass over the logits.
        backend: "auto", "oracle" (float64), "torch", "triton" or "cuda".
        validate: look for ids out of range and NaN rows; on a GPU each costs one wait for the device.

    Returns:
        DistStats with one [T] tensor for each wanted name: fp32 in nats, int64 for arg-max and rank. A token
        that is -inf in both rows contributes 0; in one row only, it makes that KL +inf. A row that is -inf
        throughout gives NaN. JS lies in [0, ln 2] and is exactly 0 for identical rows. Inputs are detached.

    Raises:
        ValueError: unknown want, mismatched shapes, vocabularies or devices, integer logits, ids out of
            range, NaN or +inf logits, a backend that cannot serve these inputs.

    JS: Lin 1991, on tokens arXiv 2603.22446; nucleus: Holtzman et al. 2020.
    """
    request = checks.make_request(want, temperature, top_p, logits_q is not None, validate)
    checks.check_matrix("logits_p", logits_p)
    n_tokens, vocab = logits_p.shape
    device = logits_p.device
    checks.check_vocabulary(vocab)
    if logits_q is not None:
        checks.check_matrix("logits_q", logits_q, device)
        if logits_q.shape != logits_p.shape:
            raise ValueError(
                f"logits_q has shape {list(logits_q.shape)}: expected {list(logits_p.shape)}, as logits_p has"
            )
    checks.check_ids(ids, request, n_tokens, device)
    for name, lse in (("lse_p", lse_p), ("lse_q", lse_q)):
        if lse is not None:
            checks.check_vector(name, lse, n_tokens, device, checks.LSE_DTYPES)
    compute = choose_backend(backend, device, request)
    with torch.no_grad():
        rows = Rows(logits_p.detach(), logits_q if request.needs_q else None, ids, lse_p, lse_q)
        if mask is not None:
            checks.check_vector("mask", mask, n_tokens, device, checks.MASK_DTYPES)
            return _masked_stats(compute, rows, request, mask)
        out = DistStats.empty(request.want, n_tokens, device)
        _stats(compute, rows, request, out)
        return out


def _stats(compute: Compute, rows: Rows, request: StatsRequest, out: DistStats) -> None:
    n_tokens, vocab = rows.x.shape
    if n_tokens == 0:
        return
    if request.validate and rows.ids is not None:
        checks.check_id_range(rows.ids, vocab)
    compute(rows, request, out)


def _masked_stats(compute: Compute, rows: Rows, request: StatsRequest, mask: Tensor) -> DistStats:
    """Gathers the rows under the mask chunk by chunk, so that the logits are never copied as a whole."""
    n_tokens, vocab = rows.x.shape
    positions = mask.nonzero()[:, 0]
    out = DistStats.empty(request.want, positions.shape[0], mask.device)
    step = max(1, MASKED_CHUNK_ELEMENTS // vocab)
    for start in range(0, positions.shape[0], step):
        part = slice(start, min(start + step, positions.shape[0]))
        _stats(compute, rows.select(positions[part]), request, out.rows(part))
    return out.scatter(positions, n_tokens)
