"""The torch reference: every statistic in few vectorised passes over cache-sized chunks of rows.

With a = x - Lx and b = y - Ly the log-probabilities of P and Q, delta = a - b, d = |delta|, m = (p + q) / 2,

    JS = sum m psi(d),   psi(d) = ln 2 - log1p(e^-d) - d e^-d / (1 + e^-d),
    KL(P || Q) = sum p f(delta),   f(delta) = delta - 1 + e^-delta.

Every term is >= 0, so that nothing cancels in the sums, and an error of the normalisers enters only to second
order. psi and f are themselves differences that cancel for small arguments, where series take over. Logits
are shifted by their row maximum first: that is exact for the tokens that carry the mass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from rlvr.divergence.checks import check_finite_rows
from rlvr.divergence.record import MAX_JS, PAIR_WANTS, TOP_P_WANTS, DistStats, Rows, StatsRequest
from rlvr.divergence.top_p import nuclei

CHUNK_ELEMENTS = 1 << 16  # of one scratch buffer, for each thread: the handful in use stays in the cache
GPU_CHUNK_ELEMENTS = 1 << 24  # 64 MB a buffer
TOP_P_ELEMENTS = 1 << 20  # of one side whose nuclei are looked for at a time
FINITE_FLOOR = -1e30  # stands in for -inf: exp gives 0, differences stay finite

# psi(d) / z as a polynomial in z = d^2 / 4, fitted on d <= 0.5 (relative error 7e-7); above psi beyond that.
PSI_SWITCH = 0.5
PSI_SERIES = (0.49999966, -0.24990032, 0.10681495)
# f(delta) = delta^2 (1/2 - delta/6 + delta^2/24 - ...), its Taylor series, right to 1e-6 below the switch.
KL_SWITCH = 0.3
KL_SERIES = (1 / 2, -1 / 6, 1 / 24, -1 / 120, 1 / 720)


@dataclass(frozen=True, slots=True)
class Side:
    """One distribution of a chunk of R rows."""

    shifted: Tensor  # [R, V] logits over the temperature, minus `peak`
    prob: Tensor  # [R, V], or [R, 0] where no statistic needs it
    peak: Tensor  # [R, 1] the row maximum over the temperature, or the caller's log-normaliser
    log_sum: Tensor  # [R, 1] log of the sum of exp(shifted), as `prob` has it; 0 for the caller's
    log_total: Tensor  # [R, 1] the same, right to the last digits
    mass: Tensor  # [R, 1] sum of `prob`; softmax adds its terms up one after the other, which rounds large vocabularies

    @property
    def lse(self) -> Tensor:
        return torch.where(self.peak == -math.inf, self.peak, self.peak + self.log_total)[:, 0]


class Scratch:
    """Named [R, V] fp32 buffers that all chunks of a call share."""

    def __init__(self, n_rows: int, vocab: int, device: torch.device) -> None:
        self._shape = (n_rows, vocab)
        self._device = device
        self._buffers: dict[str, Tensor] = {}

    def get(self, name: str, n_rows: int) -> Tensor:
        """Returns the first rows of the buffer, with whatever was written there last."""
        if name not in self._buffers:
            self._buffers[name] = torch.empty(self._shape, dtype=torch.float32, device=self._device)
        return self._buffers[name][:n_rows]


def torch_stats(rows: Rows, request: StatsRequest, out: DistStats) -> None:
    """Writes the wanted statistics of `rows` into `out`, computed in fp32.

    Raises ValueError for NaN or +inf logits.
    """
    n_tokens, vocab = rows.x.shape
    step = min(_chunk_rows(vocab, rows.x.device), n_tokens)
    scratch = Scratch(step, vocab, rows.x.device)
    for start in range(0, n_tokens, step):
        part = slice(start, min(start + step, n_tokens))
        _chunk_stats(rows[part], request, out.rows(part), scratch)
    if request.top_p is not None and request.has(*TOP_P_WANTS):
        _truncated(rows, request, request.top_p, out)


def _chunk_rows(vocab: int, device: torch.device) -> int:
    n_threads = torch.get_num_threads()
    elements = CHUNK_ELEMENTS * n_threads if device.type == "cpu" else GPU_CHUNK_ELEMENTS
    return max(n_threads, elements // vocab)


def _chunk_stats(rows: Rows, request: StatsRequest, out: DistStats, scratch: Scratch) -> None:
    x, y = rows.x, rows.y
    if y is not None and rows.x_is_delta:
        x = torch.add(x, y, out=scratch.get("x", x.shape[0]))
    p = _side("p", x, rows.lse_p, rows, request, out, scratch)
    if y is None:
        return
    q = _side("q", y, rows.lse_q, rows, request, out, scratch)
    for name, own, other in (("rank_p_in_q", x, y), ("rank_q_in_p", y, x)):
        if request.has(name):
            bar = other.gather(1, own.argmax(-1, keepdim=True))
            out.put(name, (other > bar).sum(-1).add_(1))
    if request.has(*PAIR_WANTS):
        _pair(p, q, rows.x if rows.x_is_delta else None, request, out, scratch)


def _truncated(rows: Rows, request: StatsRequest, top_p: float, out: DistStats) -> None:
    """Writes the statistics of the nuclei: in reaches of rows long enough that one sort is worth dividing."""
    assert rows.y is not None  # the request has been checked
    names = [name for name in PAIR_WANTS if request.has(name + "_top_p")]
    inner = StatsRequest(frozenset(names), request.temperature)
    n_tokens, vocab = rows.x.shape
    step, long_rows = max(1, TOP_P_ELEMENTS // vocab), _chunk_rows(vocab, rows.x.device)
    for start in range(0, n_tokens, step):
        x, y = rows.x[start : start + step], rows.y[start : start + step]
        if rows.x_is_delta:
            x = x + y
        for positions, kept_x, kept_y in nuclei(x, y, top_p, request.temperature, long_rows):
            found = DistStats.empty(names, len(positions), x.device)
            torch_stats(Rows(kept_x, kept_y, first=rows.first + start), inner, found)
            for name, values in found.items():
                getattr(out, name + "_top_p")[start + positions] = values


def _side(
    name: str,
    x: Tensor,
    lse: Tensor | None,
    rows: Rows,
    request: StatsRequest,
    out: DistStats,
    scratch: Scratch,
) -> Side:
    """Normalises one side and writes what concerns it alone."""
    side = _normalise(name, x, lse, rows, request, scratch)
    if request.has("lse_" + name):
        out.put("lse_" + name, side.lse)
    if request.has("logp_" + name) and rows.ids is not None:
        out.put("logp_" + name, (side.shifted.gather(1, rows.ids.long()[:, None]) - side.log_total)[:, 0])
    if request.has("argmax_" + name):
        out.put("argmax_" + name, x.argmax(-1))
    if request.has("entropy_" + name):
        out.put("entropy_" + name, _entropy(side, scratch))
    return side


def _entropy(side: Side, scratch: Scratch) -> Tensor:
    terms = torch.mul(side.prob, side.shifted, out=scratch.get("terms", side.prob.shape[0]))
    mean = terms.sum(-1)
    if not bool(torch.isfinite(mean).all()):  # 0 * -inf; a row that is -inf throughout stays NaN
        mean = terms.nan_to_num_(nan=0.0).sum(-1).masked_fill_(side.prob[:, 0].isnan(), math.nan)
    return (side.log_sum[:, 0] + side.mass[:, 0].log() - mean / side.mass[:, 0]).clamp_min_(0.0)


def _normalise(
    name: str, x: Tensor, lse: Tensor | None, rows: Rows, request: StatsRequest, scratch: Scratch
) -> Side:
    n_rows = x.shape[0]
    peak = x.amax(-1, keepdim=True).float()
    if not bool(torch.isfinite(peak).all()):
        check_finite_rows(f"logits_{name}", peak[:, 0], rows.first)
    if lse is not None:
        peak = lse[:, None].float() * request.temperature
    shifted = torch.sub(x, peak, out=scratch.get("shifted_" + name, n_rows))
    if request.temperature != 1.0:
        shifted.mul_(1.0 / request.temperature)
        peak = peak / request.temperature
    wants_prob = request.has(*PAIR_WANTS, "entropy_" + name)
    prob = scratch.get("prob_" + name, n_rows) if wants_prob else x.new_empty(n_rows, 0)
    if lse is not None:
        if wants_prob:
            torch.exp(shifted, out=prob)
        zero = torch.zeros_like(peak)
        return Side(shifted, prob, peak, zero, zero, prob.sum(-1, keepdim=True))
    if not wants_prob:
        log_sum = torch.logsumexp(shifted, -1, keepdim=True)
        return Side(shifted, prob, peak, log_sum, log_sum, prob.sum(-1, keepdim=True))
    torch.softmax(shifted, -1, out=prob)
    # The largest entry of `shifted` is exactly 0, so its probability is 1 / sum of exp(shifted).
    log_sum = -prob.amax(-1, keepdim=True).log_()
    mass = prob.sum(-1, keepdim=True)
    return Side(shifted, prob, peak, log_sum, log_sum + mass.log(), mass)


def _pair(
    p: Side, q: Side, delta: Tensor | None, request: StatsRequest, out: DistStats, scratch: Scratch
) -> None:
    """Writes JS and both KLs of two normalised sides."""
    diff = scratch.get("diff", p.shifted.shape[0])
    if delta is None:
        torch.sub(p.shifted, q.shifted, out=diff).sub_(p.log_sum - q.log_sum)
    else:
        torch.mul(delta, 1.0 / request.temperature, out=diff).sub_(p.peak - q.peak + (p.log_sum - q.log_sum))
    no_kl = None
    # The sum is finite unless a logit is -inf; only then is the price paid of telling the cases apart.
    if not bool(torch.isfinite(diff.sum(-1)).all()):
        in_p, in_q = p.shifted > -math.inf, q.shifted > -math.inf
        no_kl = {"kl_pq": (in_p & ~in_q).any(-1), "kl_qp": (in_q & ~in_p).any(-1)}
        dead = p.prob[:, :1].isnan() | q.prob[:, :1].isnan()
        diff.copy_(p.shifted.clamp_min(FINITE_FLOOR) - q.shifted.clamp_min(FINITE_FLOOR))
        diff.sub_(p.log_sum - q.log_sum).masked_fill_(dead, math.nan)
    if request.has("js"):
        out.put("js", _js(p, q, diff, scratch))
    for name, weight, other in (("kl_pq", p, q), ("kl_qp", q, p)):
        if request.has(name):
            kl = _kl(weight, other, diff if name == "kl_pq" else -diff)
            if no_kl is not None:
                kl.masked_fill_(no_kl[name] & ~kl.isnan(), math.inf)
            out.put(name, kl)


def _js(p: Side, q: Side, diff: Tensor, scratch: Scratch) -> Tensor:
    """sum m psi, psi being the smaller of a series and a closed form, each good where it is."""
    far, tail, series = (scratch.get(name, diff.shape[0]) for name in ("far", "tail", "terms"))
    torch.abs(diff, out=far).clamp_min_(PSI_SWITCH)
    torch.sigmoid(far, out=tail).sub_(1.0)  # -u / (1 + u), exact in this form
    far.mul_(tail).add_(math.log(2.0)).add_(tail.log1p_())
    torch.mul(diff, diff, out=series)
    c1, c2, c3 = (c / 4.0**power for power, c in enumerate(PSI_SERIES, start=1))
    torch.mul(series, c3, out=tail).add_(c2).mul_(series).add_(c1).mul_(series)
    torch.minimum(far, tail, out=far)
    mass = torch.add(p.prob, q.prob, out=series).sum(-1)  # 2 but for the rounding of softmax
    return series.mul_(far).sum(-1).div_(mass).clamp_(0.0, MAX_JS)


def _kl(p: Side, q: Side, diff: Tensor) -> Tensor:
    """sum p f(diff), where p f = p diff - p + q if that does not cancel."""
    series = torch.full_like(diff, KL_SERIES[-1])
    for coefficient in reversed(KL_SERIES[:-1]):
        series.mul_(diff).add_(coefficient)
    series.mul_(diff).mul_(diff).mul_(p.prob)
    direct = (p.prob * diff).sub_(p.prob).add_(q.prob)
    return torch.where(diff.abs() < KL_SWITCH, series, direct).sum(-1).clamp_min_(0.0)
