"""The float64 oracle: the textbook formulas, written for certainty and not for speed."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rlvr.divergence.checks import check_finite_rows
from rlvr.divergence.record import MAX_JS, TOP_P_WANTS, DistStats, Rows, StatsRequest
from rlvr.divergence.top_p import truncate

CHUNK_ELEMENTS = 1 << 22


def oracle_stats(rows: Rows, request: StatsRequest, out: DistStats) -> None:
    """Writes the wanted statistics of `rows` into `out`, computed in float64."""
    n_tokens, vocab = rows.x.shape
    step = max(1, CHUNK_ELEMENTS // vocab)
    for start in range(0, n_tokens, step):
        part = slice(start, min(start + step, n_tokens))
        _chunk_stats(rows[part], request, out.rows(part))


def _chunk_stats(rows: Rows, request: StatsRequest, out: DistStats) -> None:
    x = rows.x.double() / request.temperature
    y = None if rows.y is None else rows.y.double() / request.temperature
    if y is not None and rows.x_is_delta:
        x = x + y
    a = _log_softmax("p", x, rows.lse_p, rows, request, out)
    if y is None:
        return
    b = _log_softmax("q", y, rows.lse_q, rows, request, out)
    for name, own, other in (("rank_p_in_q", x, y), ("rank_q_in_p", y, x)):
        if request.has(name):
            out.put(name, 1 + (other > other.gather(1, own.argmax(-1, keepdim=True))).sum(-1))
    _divergences(a, b, request, out, "")
    if request.top_p is not None and request.has(*TOP_P_WANTS):
        kept = [truncate(logits, request.top_p, 1.0) for logits in (x, y)]
        a, b = (logits - torch.logsumexp(logits, -1, keepdim=True) for logits in kept)
        _divergences(a, b, request, out, "_top_p")


def _log_softmax(
    side: str, x: Tensor, lse: Tensor | None, rows: Rows, request: StatsRequest, out: DistStats
) -> Tensor:
    """Returns the log-probabilities [R, V] and writes what concerns one side alone."""
    lse = torch.logsumexp(x, -1) if lse is None else lse.double()
    check_finite_rows(f"logits_{side}", lse, rows.first)
    log_prob = x - lse[:, None]
    if request.has(f"lse_{side}"):
        out.put(f"lse_{side}", lse)
    if request.has(f"logp_{side}") and rows.ids is not None:
        out.put(f"logp_{side}", log_prob.gather(1, rows.ids.long()[:, None])[:, 0])
    if request.has(f"entropy_{side}"):
        out.put(f"entropy_{side}", -_weighted(log_prob.exp(), log_prob).sum(-1))
    if request.has(f"argmax_{side}"):
        out.put(f"argmax_{side}", x.argmax(-1))
    return log_prob


def _weighted(p: Tensor, value: Tensor) -> Tensor:
    return torch.where(p == 0, 0.0, p * value)


def _divergences(a: Tensor, b: Tensor, request: StatsRequest, out: DistStats, suffix: str) -> None:
    p, q = a.exp(), b.exp()
    same = a == b
    if request.has("js" + suffix):
        mixture = torch.logaddexp(a, b) - math.log(2.0)
        terms = _weighted(p, a - mixture) + _weighted(q, b - mixture)
        out.put("js" + suffix, terms.masked_fill(same, 0.0).sum(-1).div(2.0).clamp(0.0, MAX_JS))
    if request.has("kl_pq" + suffix):
        out.put("kl_pq" + suffix, _kl(p, q, a, b))
    if request.has("kl_qp" + suffix):
        out.put("kl_qp" + suffix, _kl(q, p, b, a))


def _kl(p: Tensor, q: Tensor, a: Tensor, b: Tensor) -> Tensor:
    # - p + q sums to 0 if both are normalised; a caller's log-normaliser may be a rounding off.
    terms = (_weighted(p, a - b) - p + q).masked_fill(a == b, 0.0)
    barred = (b == -math.inf) & (a > -math.inf)  # infinite even where p underflows
    dead = b.isnan().any(-1)
    return terms.sum(-1).clamp_min(0.0).masked_fill(barred.any(-1), math.inf).masked_fill(dead, math.nan)
