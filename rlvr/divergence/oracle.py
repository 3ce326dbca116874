"""The float64 oracle: the textbook formulas, written for certainty and not for speed."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rlvr.divergence.checks import check_finite_rows
from rlvr.divergence.record import MAX_JS, DistStats, Request
from rlvr.divergence.top_p import nucleus_threshold


def oracle_stats(
    x: Tensor,
    y: Tensor | None,
    ids: Tensor | None,
    request: Request,
    out: DistStats,
    delta: Tensor | None = None,
    lse_p: Tensor | None = None,
    lse_q: Tensor | None = None,
) -> None:
    """Writes the statistics of rows x [T, V] and y [T, V] into `out`; see `reference_stats` for the arguments."""
    if y is not None:
        y = y.double() / request.temperature
    x = (y + delta.double() / request.temperature) if delta is not None else x.double() / request.temperature
    _one_side("p", x, y, ids, lse_p, request, out)
    if y is None:
        return
    _one_side("q", y, x, ids, lse_q, request, out)
    a, b = _log_softmax(x, lse_p), _log_softmax(y, lse_q)
    _divergences(a, b, request, out, "")
    if request.has("js_top_p", "kl_pq_top_p", "kl_qp_top_p"):
        kept = [
            row.masked_fill(row < nucleus_threshold(row, request.top_p)[:, None], -math.inf) for row in (x, y)
        ]
        _divergences(_log_softmax(kept[0], None), _log_softmax(kept[1], None), request, out, "_top_p")


def _log_softmax(x: Tensor, lse: Tensor | None) -> Tensor:
    return x - (torch.logsumexp(x, -1) if lse is None else lse.double())[:, None]


def _one_side(
    side: str,
    x: Tensor,
    other: Tensor | None,
    ids: Tensor | None,
    lse: Tensor | None,
    request: Request,
    out: DistStats,
) -> None:
    lse = torch.logsumexp(x, -1) if lse is None else lse.double()
    check_finite_rows(f"logits_{side}", lse)
    log_prob = x - lse[:, None]
    top = x.argmax(-1, keepdim=True)
    if request.has(f"lse_{side}"):
        getattr(out, f"lse_{side}").copy_(lse)
    if request.has(f"logp_{side}"):
        getattr(out, f"logp_{side}").copy_(log_prob.gather(1, ids.long()[:, None])[:, 0])
    if request.has(f"entropy_{side}"):
        getattr(out, f"entropy_{side}").copy_(-_weighted(log_prob.exp(), log_prob).sum(-1))
    if request.has(f"argmax_{side}"):
        getattr(out, f"argmax_{side}").copy_(top[:, 0])
    rank = f"rank_{side}_in_{'q' if side == 'p' else 'p'}"
    if request.has(rank):
        getattr(out, rank).copy_(1 + (other > other.gather(1, top)).sum(-1))


def _weighted(p: Tensor, value: Tensor) -> Tensor:
    return torch.where(p == 0, 0.0, p * value)


def _divergences(a: Tensor, b: Tensor, request: Request, out: DistStats, suffix: str) -> None:
    p, q = a.exp(), b.exp()
    mixture = torch.logaddexp(a, b) - math.log(2.0)
    same = a == b
    if request.has("js" + suffix):
        terms = _weighted(p, a - mixture) + _weighted(q, b - mixture)
        getattr(out, "js" + suffix).copy_(terms.masked_fill(same, 0.0).sum(-1).div(2.0).clamp(0.0, MAX_JS))
    if request.has("kl_pq" + suffix):
        getattr(out, "kl_pq" + suffix).copy_(_kl(p, a, b, same))
    if request.has("kl_qp" + suffix):
        getattr(out, "kl_qp" + suffix).copy_(_kl(q, b, a, same))


def _kl(p: Tensor, a: Tensor, b: Tensor, same: Tensor) -> Tensor:
    barred = (b == -math.inf) & (a > -math.inf)  # even where p underflows
    kl = _weighted(p, a - b).masked_fill(same, 0.0).sum(-1).clamp_min(0.0)
    return kl.masked_fill(barred.any(-1), math.inf)
