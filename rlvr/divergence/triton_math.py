"""The arithmetic of the Triton kernel.

Logits are taken to base 2: k = log2(e) over the temperature. With a = x k - Mx k, b = y k - My k + c,
c = log2 Sx - log2 Sy, delta = a - b, d = |delta|, u = 2^-d and h = 2^max(a, b), all shifted by log2 Sx, a
pair adds

    JS:  ln 2 / 2 h [(1 + u)(1 - log2(1 + u)) - d u]    or, for small d, h (1 + u) times a series in d^2,
    KL:  h [d - (1 - u)] to the one and h [(1 - u) - u d] to the other, d in nats; or series for small d.

Neither needs a division; JS costs five special-function calls a pair, two of them for the normalisers.
"""

from __future__ import annotations

import triton
import triton.language as tl

LN2 = tl.constexpr(0.6931471805599453)
LOG2E = tl.constexpr(1.4426950408889634)
FLOOR = tl.constexpr(-1e30)  # below every finite logit that matters; keeps -inf - -inf out of the maxima
MAX_JS = tl.constexpr(0.6931471228599548)
NO_INDEX = tl.constexpr(2147483647)
# Below d = 0.7 series take over, in s = (d / ln 2)^2, of z = d^2 / 4 = Z s:
# psi(d) = z (0.499999969 - ...) (right to 6e-8) and t = 1 - tanh(sqrt z) / sqrt z = z (0.33333218 - ...) (1e-7).
SWITCH = tl.constexpr((0.7 / 0.6931471805599453) ** 2)
Z = tl.constexpr(0.12011325347955035)
J1 = tl.constexpr(0.499999969 * 0.12011325347955035 / 0.6931471805599453)
J2 = tl.constexpr(-0.249991852 * 0.12011325347955035**2 / 0.6931471805599453)
J3 = tl.constexpr(0.110774633 * 0.12011325347955035**3 / 0.6931471805599453)
J4 = tl.constexpr(-0.0427229628 * 0.12011325347955035**4 / 0.6931471805599453)
T1 = tl.constexpr(0.33333218 * 0.12011325347955035)
T2 = tl.constexpr(-0.13316218 * 0.12011325347955035**2)
T3 = tl.constexpr(0.0501707147 * 0.12011325347955035**3)


@triton.jit
def exp2(v, INTERPRET: tl.constexpr):
    if INTERPRET:
        return tl.exp2(v)
    return tl.inline_asm_elementwise("ex2.approx.ftz.f32 $0, $1;", "=f,f", [v], tl.float32, True, 1)


@triton.jit
def log2(v, INTERPRET: tl.constexpr):
    # On 1 <= v <= 2 the approximation is right to 2^-22 absolute; libdevice spends four more instructions.
    if INTERPRET:
        return tl.log2(v)
    return tl.inline_asm_elementwise("lg2.approx.ftz.f32 $0, $1;", "=f,f", [v], tl.float32, True, 1)


@triton.jit
def load_logits(ptr, offs, vocab, low, MASKED: tl.constexpr, TRUNCATE: tl.constexpr):
    """fp32 logits at `offs`; FLOOR beyond the vocabulary; -inf, if TRUNCATE, below the threshold `low`."""
    if MASKED:
        v = tl.load(ptr + offs, mask=offs < vocab, other=0.0).to(tl.float32)
        v = tl.where(offs < vocab, v, FLOOR)
    else:
        v = tl.load(ptr + offs).to(tl.float32)
    if TRUNCATE:
        v = tl.where(v >= low, v, float("-inf"))
    return v


@triton.jit
def load_p(
    x_ptr, y_ptr, offs, vocab, low, MASKED: tl.constexpr, TRUNCATE: tl.constexpr, DELTA: tl.constexpr
):  # fmt: skip
    """fp32 logits of P, which in DELTA form are those of Q plus the difference stored at x_ptr."""
    if DELTA:
        x = load_logits(x_ptr, offs, vocab, low, MASKED, False)
        x += load_logits(y_ptr, offs, vocab, low, MASKED, False)
        if TRUNCATE:
            x = tl.where(x >= low, x, float("-inf"))
        return x
    return load_logits(x_ptr, offs, vocab, low, MASKED, TRUNCATE)


@triton.jit
def shift(x, m, k, INTERPRET: tl.constexpr):
    """(x - m) k, rounded once: the GPU fuses it, the interpreter cannot."""
    if INTERPRET:
        return (x - m) * k
    return x * k - m * k


@triton.jit
def online(x, m, s, t, best, tile, k, ENTROPY: tl.constexpr, ARGMAX: tl.constexpr, INTERPRET: tl.constexpr):
    """Folds a [LANES, VEC] tile into each lane's maximum m, s = sum 2^(x-m)k, t = sum 2^(x-m)k (x-m)k.

    A logit of -inf makes t NaN (0 times -inf), which read 2 then repairs.
    """
    tile_max = tl.max(x, 1)
    new_m = tl.maximum(m, tile_max)
    step = (m - new_m) * k
    scale = exp2(step, INTERPRET)
    a = shift(x, new_m[:, None], k, INTERPRET)
    e = exp2(a, INTERPRET)
    if ENTROPY:
        t = (t + s * tl.maximum(step, FLOOR)) * scale + tl.sum(e * a, 1)
    s = s * scale + tl.sum(e, 1)
    if ARGMAX:
        best = tl.where(tile_max > m, tile, best)
    return new_m, s, t, best


@triton.jit
def merge(m, s, t, k, INTERPRET: tl.constexpr):
    """Joins the lanes: row maximum, log2 of the sum, entropy in nats. Nothing finite: FLOOR and -inf."""
    top = tl.max(m, 0)
    step = (m - top) * k
    scale = exp2(step, INTERPRET)
    total = tl.sum(s * scale, 0)
    log_sum = tl.where((top == FLOOR) & (total == total), float("-inf"), tl.log2(total))
    mean = tl.sum((t + s * tl.maximum(step, FLOOR)) * scale, 0) / total
    return top, log_sum, entropy_of(log_sum, mean)


@triton.jit
def entropy_of(log_sum, mean):
    value = (log_sum - mean) * LN2
    return tl.where(value < 0.0, 0.0, value)  # keeps NaN


@triton.jit
def js_term(s, near, d_u, u, h, INTERPRET: tl.constexpr):
    """2 / ln 2 times the term of JS, from s = delta^2, near = s < SWITCH and d_u = d u."""
    one_u = 1.0 + u
    far = one_u * (1.0 - log2(one_u, INTERPRET)) - d_u
    series = one_u * (s * (J1 + s * (J2 + s * (J3 + s * J4))))
    return h * tl.where(near, series, far)


@triton.jit
def kl_terms(delta, d, s, near, d_u, u, h):
    """1 / ln 2 times the terms of KL(P || Q) and KL(Q || P), both >= 0 up to rounding.

    For small d, with t as above, they are (1 + u) [z (1 - t) +- d t / 2] in nats.
    """
    rest = 1.0 - u
    more = d - rest * LOG2E  # of the KL whose first argument is the larger here
    less = rest * LOG2E - d_u
    t = s * (T1 + s * (T2 + s * T3))
    even = s - s * t
    odd = delta * t
    weight = (1.0 + u) * (Z * LOG2E)
    swap = delta < 0.0
    to_p = tl.where(near, weight * (even + odd * (0.5 / (Z * LOG2E))), tl.where(swap, less, more))
    to_q = tl.where(near, weight * (even - odd * (0.5 / (Z * LOG2E))), tl.where(swap, more, less))
    return h * to_p, h * to_q
