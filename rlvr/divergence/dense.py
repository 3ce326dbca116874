"""`dist_stats`: token statistics from logits that already exist."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from rlvr.divergence import checks
from rlvr.divergence.backends import Compute, choose_backend
from rlvr.divergence.record import DistStats, Request

MASKED_CHUNK_ELEMENTS = 1 << 22  # logits of one side gathered at a time when there is a mask


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
        logits_p: [T, V] logits of P; fp32, bf16, fp16 or fp64, any strides, computed in fp32 (fp64 by the oracle).
        logits_q: [T, V] logits of Q; may be left out if no statistic of Q is wanted.
        ids: [T] int64 or int32 sampled tokens, needed for "logp_p" and "logp_q".
        want: names among `WANTS`; nothing else is computed.
        temperature: divides both logits.
        top_p: nucleus share of the "*_top_p" statistics, in (0, 1]: each row is truncated on its own (all ties
            of the last token kept) and renormalised; JS over the union, KL +inf where the supports differ.
        mask: [T] bool; positions where it is False are skipped and hold 0.
        lse_p, lse_q: [T] log-normalisers of logits / temperature, if known; saves a pass over the logits.
        backend: "auto", "oracle" (float64), "torch", "triton" or "cuda".
        validate: look for ids out of range and NaN rows; each costs one wait for the device on a GPU.

    Returns:
        DistStats with one [T] tensor for each wanted name: fp32 in nats, int64 for arg-max and rank. A token that
        is -inf in both rows contributes 0 and in one row only makes that KL +inf; a row that is -inf throughout
        gives NaN. Inputs are detached. JS is exactly 0 for identical rows and lies in [0, ln 2].

    Raises:
        ValueError: unknown want, mismatched shapes, vocabularies or devices, integer logits, ids out of range, NaN
            or +inf logits, a backend that cannot serve these inputs.

    JS: Lin 1991; its use on tokens: arXiv 2603.22446; nucleus: Holtzman et al. 2020.
    """
    request = checks.make_request(want, temperature, top_p, logits_q is not None)
    checks.check_matrix("logits_p", logits_p)
    n_tokens, vocab = logits_p.shape
    device = logits_p.device
    if logits_q is not None:
        checks.check_matrix("logits_q", logits_q, logits_p, "logits_p")
        checks.check_same_shape("logits_q", logits_q, logits_p, "logits_p")
    checks.check_ids(ids, request, n_tokens, vocab, device)
    for name, lse in (("lse_p", lse_p), ("lse_q", lse_q)):
        if lse is not None:
            checks.check_vector(name, lse, n_tokens, device, "float")
    compute = choose_backend(backend, device, request)
    with torch.no_grad():
        given = (logits_p, logits_q if request.needs_q else None, ids, lse_p, lse_q)
        values = [None if value is None else value.detach() for value in given]
        if mask is not None:
            checks.check_vector("mask", mask, n_tokens, device, "bool")
            return _masked_stats(compute, values, request, mask, validate)
        out = DistStats.empty(request.want, n_tokens, device)
        _stats(compute, values, request, out, validate)
        return out


def _stats(
    compute: Compute, values: list[Tensor | None], request: Request, out: DistStats, validate: bool
) -> None:
    x, y, ids, lse_p, lse_q = values
    if x.shape[0] == 0:
        return
    if validate and ids is not None:
        checks.check_id_range(ids, x.shape[1])
    compute(x, y, ids, request, out, lse_p=lse_p, lse_q=lse_q)


def _masked_stats(
    compute: Compute, values: list[Tensor | None], request: Request, mask: Tensor, validate: bool
) -> DistStats:
    """Gathers the rows under the mask chunk by chunk, so that no copy of all logits is made."""
    n_tokens, vocab = values[0].shape
    positions = mask.nonzero()[:, 0]
    out = DistStats.empty(request.want, positions.shape[0], mask.device)
    step = max(1, MASKED_CHUNK_ELEMENTS // max(vocab, 1))
    for start in range(0, positions.shape[0], step):
        rows = slice(start, start + step)
        chunk = [None if value is None else value.index_select(0, positions[rows]) for value in values]
        _stats(compute, chunk, request, out.rows(rows), validate)
    return out.scatter(positions, n_tokens)
