"""The torch reference: every statistic in few vectorised passes over cache-sized chunks of rows.

With a = x - Lx and b = y - Ly the log-probabilities of P and Q, delta = a - b, d = |delta| and m = (p + q) / 2,

    JS = sum m psi(d),   psi(d) = ln 2 - log1p(e^-d) - d e^-d / (1 + e^-d),
    KL(P || Q) = sum p f(delta),   f(delta) = delta - 1 + e^-delta.

Every term is >= 0, so that nothing cancels in the sums, and both are insensitive to first order to an error of
the normalisers. psi and f are themselves differences that cancel for small arguments, where series take over.
Logits are shifted by their row maximum first: the shift is exact for the tokens that carry the mass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from rlvr.divergence.checks import check_finite_rows
from rlvr.divergence.record import MAX_JS, DistStats, Request
from rlvr.divergence.top_p import nucleus_threshold

CHUNK_ELEMENTS = 1 << 17  # of one scratch tensor for each thread: a few of them fit the second-level cache
FINITE_FLOOR = -1e30  # stands in for -inf: exp gives 0, differences stay finite

# psi(d) / z as a polynomial in z = d^2 / 4, fitted on d <= 0.5 (relative error 7e-7); larger than psi beyond.
PSI_SWITCH = 0.5
PSI_SERIES = (0.49999966, -0.24990032, 0.10681495)
# f(delta) = delta^2 (1/2 - delta/6 + delta^2/24 - ...), its Taylor series, right to 1e-7 below the switch.
KL_SWITCH = 0.3
KL_SERIES = (1 / 2, -1 / 6, 1 / 24, -1 / 120, 1 / 720)


@dataclass(slots=True)
class Side:
    """One distribution of a chunk of R rows."""

    shifted: Tensor  # [R, V] logits / temperature, minus their row maximum
    prob: Tensor | None  # [R, V]
    peak: Tensor  # [R, 1] the row maximum / temperature, or the caller's log-normaliser
    log_sum: Tensor  # [R, 1] log of the sum of exp(shifted), so that lse = peak + log_sum

    @property
    def lse(self) -> Tensor:
        return torch.where(self.peak == -math.inf, self.peak, self.peak + self.log_sum)


class Scratch:
    """[R, V] fp32 buffers that every chunk of a call reuses."""

    def __init__(self, n_rows: int, vocab: int, device: torch.device) -> None:
        self._shape = (n_rows, vocab)
        self._device = device
        self._buffers: dict[str, Tensor] = {}

    def get(self, name: str, n_rows: int) -> Tensor:
        if name not in self._buffers:
            self._buffers[name] = torch.empty(self._shape, dtype=torch.float32, device=self._device)
        return self._buffers[name][:n_rows]


def reference_stats(
    x: Tensor,
    y: Tensor | None,
    ids: Tensor | None,
    request: Request,
    out: DistStats,
    delta: Tensor | None = None,
    lse_p: Tensor | None = None,
    lse_q: Tensor | None = None,
) -> None:
    """Writes the statistics of logits x (of P) and y (of Q), both [T, V], into `out`.

    With `delta` [T, V] the logits of P are y + delta and x is ignored. lse_p and lse_q [T] are the
    log-normalisers after temperature, if the caller has them. Raises ValueError for NaN or +inf logits.
    """
    n_tokens, vocab = (y if delta is not None else x).shape
    n_rows = max(1, torch.get_num_threads(), CHUNK_ELEMENTS * torch.get_num_threads() // max(vocab, 1))
    scratch = Scratch(min(n_rows, n_tokens), vocab, out_device(out))
    for start in range(0, n_tokens, n_rows):
        rows = slice(start, min(start + n_rows, n_tokens))
        chunk = [None if value is None else value[rows] for value in (x, y, ids, delta, lse_p, lse_q)]
        _chunk_stats(chunk, request, out.rows(rows), scratch, start)


def out_device(out: DistStats) -> torch.device:
    return next(out.items())[1].device


def _chunk_stats(
    chunk: list[Tensor | None], request: Request, out: DistStats, scratch: Scratch, first: int
) -> None:
    x, y, ids, delta, lse_p, lse_q = chunk
    if delta is not None:
        x = torch.add(y, delta, out=scratch.get("x", y.shape[0]))
    wants_pair = request.has("js", "kl_pq", "kl_qp")
    p = _side(x, lse_p, request, wants_pair or request.has("entropy_p"), scratch, "p", first)
    _one_side("p", p, x, ids, request, out, scratch)
    if y is None:
        return
    q = _side(y, lse_q, request, wants_pair or request.has("entropy_q"), scratch, "q", first)
    _one_side("q", q, y, ids, request, out, scratch)
    _ranks(x, y, request, out)
    if wants_pair:
        _pair(p, q, delta, request, out, scratch)
    if request.has("js_top_p", "kl_pq_top_p", "kl_qp_top_p"):
        _pair_top_p(x, y, request, out)


def _side(
    x: Tensor, lse: Tensor | None, request: Request, wants_prob: bool, scratch: Scratch, name: str, first: int
) -> Side:
    peak = x.amax(-1, keepdim=True).float()
    if not bool(torch.isfinite(peak).all()):
        check_finite_rows(f"logits_{name}", peak[:, 0], first)
    if lse is not None:
        peak = lse[:, None].float() * request.temperature
    shifted = torch.sub(x, peak, out=scratch.get("shifted_" + name, x.shape[0]))
    if request.temperature != 1.0:
        shifted.mul_(1.0 / request.temperature)
        peak = peak / request.temperature
    if lse is not None:
        prob = torch.exp(shifted, out=scratch.get("prob_" + name, x.shape[0])) if wants_prob else None
        return Side(shifted, prob, lse[:, None].float(), torch.zeros_like(peak))
    if not wants_prob:
        return Side(shifted, None, peak, torch.logsumexp(shifted, -1, keepdim=True))
    # The largest entry of `shifted` is exactly 0, so its probability is 1 / sum of exp(shifted).
    prob = torch.softmax(shifted, -1, out=scratch.get("prob_" + name, x.shape[0]))
    return Side(shifted, prob, peak, -prob.amax(-1, keepdim=True).log_())


def _one_side(
    name: str, side: Side, x: Tensor, ids: Tensor | None, request: Request, out: DistStats, scratch: Scratch
) -> None:
    if request.has("lse_" + name):
        getattr(out, "lse_" + name).copy_(side.lse[:, 0])
    if request.has("logp_" + name):
        value = side.shifted.gather(1, ids.long()[:, None]) - side.log_sum
        getattr(out, "logp_" + name).copy_(value[:, 0])
    if request.has("argmax_" + name):
        getattr(out, "argmax_" + name).copy_(x.argmax(-1))
    if request.has("entropy_" + name):
        terms = torch.mul(side.prob, side.shifted, out=scratch.get("terms", x.shape[0]))
        mean = terms.sum(-1)
        if bool(torch.isnan(mean).any()):  # 0 * -inf; a row that is -inf throughout stays NaN
            mean = terms.nan_to_num_(nan=0.0).sum(-1).masked_fill_(side.prob[:, 0].isnan(), math.nan)
        entropy = side.log_sum[:, 0] - mean
        getattr(out, "entropy_" + name).copy_(entropy.clamp_min_(0.0))


def _ranks(x: Tensor, y: Tensor, request: Request, out: DistStats) -> None:
    for name, own, other in (("rank_p_in_q", x, y), ("rank_q_in_p", y, x)):
        if request.has(name):
            bar = other.gather(1, own.argmax(-1, keepdim=True))
            getattr(out, name).copy_((other > bar).sum(-1).add_(1))


def _pair(p: Side, q: Side, delta: Tensor | None, request: Request, out: DistStats, scratch: Scratch) -> None:
    """JS and both KLs from two normalised sides."""
    n_rows = p.shifted.shape[0]
    diff = scratch.get("diff", n_rows)
    if delta is None:
        torch.sub(p.shifted, q.shifted, out=diff).sub_(p.log_sum - q.log_sum)
    else:
        torch.mul(delta, 1.0 / request.temperature, out=diff).sub_(
            (p.peak - q.peak) + (p.log_sum - q.log_sum)
        )
    barred = None
    # A sum is finite unless some logit is -inf; only then is the price of telling those apart paid.
    if not bool(torch.isfinite(diff.sum(-1)).all()):
        in_p, in_q = p.shifted > -math.inf, q.shifted > -math.inf
        barred = ((in_p & ~in_q).any(-1), (in_q & ~in_p).any(-1))
        dead = p.prob[:, :1].isnan() | q.prob[:, :1].isnan()
        diff.copy_(p.shifted.clamp_min(FINITE_FLOOR) - q.shifted.clamp_min(FINITE_FLOOR))
        diff.sub_(p.log_sum - q.log_sum).masked_fill_(dead, math.nan)
    if request.has("js"):
        out.js.copy_(_js(p, q, diff, scratch))
    for name, weight, other, sign, side in (("kl_pq", p, q, 1.0, 0), ("kl_qp", q, p, -1.0, 1)):
        if request.has(name):
            value = _kl(weight, other, diff * sign if sign < 0 else diff)
            if barred is not None:
                value.masked_fill_(barred[side] & ~value.isnan(), math.inf)
            getattr(out, name).copy_(value)


def _js(p: Side, q: Side, diff: Tensor, scratch: Scratch) -> Tensor:
    """sum (p + q) psi / 2; psi is the smaller of a series and a closed form, each safe where the other is not."""
    n_rows = diff.shape[0]
    far, tail, series = (scratch.get(name, n_rows) for name in ("far", "tail", "terms"))
    torch.abs(diff, out=far).clamp_min_(PSI_SWITCH)
    torch.sigmoid(far, out=tail).sub_(1.0)  # -u / (1 + u), exact in this form
    torch.mul(diff, diff, out=series)
    far.mul_(tail).add_(math.log(2.0)).add_(tail.log1p_())
    c1, c2, c3 = (c / 4.0**k for k, c in enumerate(PSI_SERIES, start=1))
    torch.mul(series, c3, out=tail).add_(c2).mul_(series).add_(c1).mul_(series)
    torch.minimum(far, tail, out=far)
    torch.add(p.prob, q.prob, out=series)
    return series.mul_(far).sum(-1).mul_(0.5).clamp_(0.0, MAX_JS)


def _kl(p: Side, q: Side, diff: Tensor) -> Tensor:
    """sum p f(diff); p f is p diff - p + q where that does not cancel."""
    series = torch.full_like(diff, KL_SERIES[-1])
    for coefficient in reversed(KL_SERIES[:-1]):
        series.mul_(diff).add_(coefficient)
    series.mul_(diff).mul_(diff).mul_(p.prob)
    direct = (p.prob * diff).sub_(p.prob).add_(q.prob)
    return torch.where(diff.abs() < KL_SWITCH, series, direct).sum(-1).clamp_min_(0.0)


def _pair_top_p(x: Tensor, y: Tensor, request: Request, out: DistStats) -> None:
    kept = []
    for logits in (x, y):
        logits = logits.float() / request.temperature
        threshold = nucleus_threshold(logits, request.top_p)
        kept.append(logits.masked_fill_(logits < threshold[:, None], -math.inf))
    names = [name for name in ("js", "kl_pq", "kl_qp") if request.has(name + "_top_p")]
    exact = DistStats(**{name: getattr(out, name + "_top_p") for name in names})
    reference_stats(kept[0], kept[1], None, Request(frozenset(names), 1.0, None), exact)
