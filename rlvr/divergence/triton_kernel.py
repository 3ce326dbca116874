"""The Triton kernel: one program for each row, two streaming reads, everything kept in registers.

Read 1 finds the normalisers with an online maximum that each lane keeps for itself; read 2, in reversed order
so that its first tiles still lie in the L2 cache, sums the divergences. Logits are taken to base 2 (k = log2(e)
over the temperature). With a = x k - Mx k, b = y k - My k + c, c = log2 Sx - log2 Sy, delta = a - b, d = |delta|,
u = 2^-d and h = 2^max(a, b), all shifted by log2 Sx, a pair adds

    JS:  ln 2 / 2 h [(1 + u)(1 - log2(1 + u)) - d u]      or, for small d, h (1 + u) times a series in d^2,
    KL:  h [d - (1 - u)] to the one, h [(1 - u) - u d] to the other, d in nats; or series for small d.

Neither needs a division; each costs five special-function calls with the two of read 1. No atomics: two runs
agree bit for bit.
"""

from __future__ import annotations

import triton
import triton.language as tl

LN2 = tl.constexpr(0.6931471805599453)
LOG2E = tl.constexpr(1.4426950408889634)
FLOOR = tl.constexpr(-1e30)  # below every finite logit that matters; keeps -inf - -inf out of the maxima
HUGE = tl.constexpr(1e30)
MAX_JS = tl.constexpr(0.6931471228599548)
NO_INDEX = tl.constexpr(2147483647)
# psi(d) = z (1/2 + ...), z = d^2 / 4, right to 1.7e-7 for d < 1; here for s = (d / ln 2)^2, over ln 2.
JS_SWITCH = tl.constexpr(2.0813689810056077)  # s at d = 1
J1 = tl.constexpr(0.5 * 0.12011325347955035 / 0.6931471805599453)
J2 = tl.constexpr(-0.2499976 * 0.12011325347955035**2 / 0.6931471805599453)
J3 = tl.constexpr(0.1110334 * 0.12011325347955035**3 / 0.6931471805599453)
J4 = tl.constexpr(-0.0463273 * 0.12011325347955035**4 / 0.6931471805599453)
J5 = tl.constexpr(0.0153571 * 0.12011325347955035**5 / 0.6931471805599453)
KL_SWITCH = tl.constexpr(0.0625)  # z at d = 0.5


@triton.jit
def _exp2(v, INTERPRET: tl.constexpr):
    if INTERPRET:
        return tl.exp2(v)
    return tl.inline_asm_elementwise("ex2.approx.ftz.f32 $0, $1;", "=f,f", [v], tl.float32, True, 1)


@triton.jit
def _log2(v, INTERPRET: tl.constexpr):
    # On 1 <= v <= 2 the approximation is right to 2^-22 absolute; libdevice spends four more instructions.
    if INTERPRET:
        return tl.log2(v)
    return tl.inline_asm_elementwise("lg2.approx.ftz.f32 $0, $1;", "=f,f", [v], tl.float32, True, 1)


@triton.jit
def _load(ptr, offs, vocab, low, MASKED: tl.constexpr, TRUNCATE: tl.constexpr):
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
def _load_x(
    x_ptr, y_ptr, offs, vocab, low, MASKED: tl.constexpr, TRUNCATE: tl.constexpr, DELTA: tl.constexpr
):  # fmt: skip
    """fp32 logits of P, which in DELTA form are those of Q plus the difference stored at x_ptr."""
    if DELTA:
        x = _load(x_ptr, offs, vocab, low, MASKED, False)
        x += _load(y_ptr, offs, vocab, low, MASKED, False)
        if TRUNCATE:
            x = tl.where(x >= low, x, float("-inf"))
        return x
    return _load(x_ptr, offs, vocab, low, MASKED, TRUNCATE)


@triton.jit
def _shift(x, m, k, INTERPRET: tl.constexpr):
    """(x - m) k, rounded once: the GPU fuses it, the interpreter cannot."""
    if INTERPRET:
        return (x - m) * k
    return x * k - m * k


@triton.jit
def _online(x, m, s, t, best, tile, k, ENTROPY: tl.constexpr, ARGMAX: tl.constexpr, INTERPRET: tl.constexpr):
    """Folds a [LANES, VEC] tile into each lane's maximum m, s = sum 2^(x-m)k, t = sum 2^(x-m)k (x-m)k.

    A logit of -inf makes t NaN (0 times -inf), which read 2 then repairs.
    """
    tile_max = tl.max(x, 1)
    new_m = tl.maximum(m, tile_max)
    step = (m - new_m) * k
    scale = _exp2(step, INTERPRET)
    a = _shift(x, new_m[:, None], k, INTERPRET)
    e = _exp2(a, INTERPRET)
    if ENTROPY:
        t = (t + s * tl.maximum(step, FLOOR)) * scale + tl.sum(e * a, 1)
    s = s * scale + tl.sum(e, 1)
    if ARGMAX:
        best = tl.where(tile_max > m, tile, best)
    return new_m, s, t, best


@triton.jit
def _merge(m, s, t, k, INTERPRET: tl.constexpr):
    """Joins the lanes: row maximum, log2 of the sum, entropy in nats. Without any finite logit: FLOOR, -inf."""
    top = tl.max(m, 0)
    step = (m - top) * k
    scale = _exp2(step, INTERPRET)
    total = tl.sum(s * scale, 0)
    log_sum = tl.where((top == FLOOR) & (total == total), float("-inf"), tl.log2(total))
    mean = tl.sum((t + s * tl.maximum(step, FLOOR)) * scale, 0) / total
    return top, log_sum, _entropy(log_sum, mean)


@triton.jit
def _entropy(log_sum, mean):
    value = (log_sum - mean) * LN2
    return tl.where(value < 0.0, 0.0, value)  # keeps NaN


@triton.jit
def _js_term(delta, d, u, h, INTERPRET: tl.constexpr):
    one_u = 1.0 + u
    far = one_u * (1.0 - _log2(one_u, INTERPRET)) - d * u
    s = delta * delta
    near = one_u * (s * (J1 + s * (J2 + s * (J3 + s * (J4 + s * J5)))))
    return h * tl.where(s < JS_SWITCH, near, far)


@triton.jit
def _kl_terms(delta, d, u, h):
    """The terms of KL(P || Q) and KL(Q || P), both >= 0 up to rounding."""
    nat = d * LN2
    rest = 1.0 - u
    z = 0.25 * nat * nat
    r = 0.33333333 + z * (-0.13333333 + z * 0.05396825)  # (d - 2 tanh(d / 2)) / (d z)
    even = (1.0 + u) * (z - z * z * r)
    odd = (1.0 + u) * (0.5 * nat) * z * r
    near = z < KL_SWITCH
    more = h * tl.where(near, even + odd, nat - rest)  # of the KL whose first argument is the larger here
    less = h * tl.where(near, even - odd, rest - u * nat)
    swap = delta < 0.0
    return tl.where(swap, less, more), tl.where(swap, more, less)


@triton.jit
def _second(
    x, y, mx, my, c, k, bar_p, bar_q, js, pq, qp, rank_p, rank_q, difference,
    JS: tl.constexpr, KL: tl.constexpr, RANK: tl.constexpr, DELTA: tl.constexpr, INTERPRET: tl.constexpr,
):  # fmt: skip
    """Folds a tile into the sums of read 2; a logit of -inf makes them NaN or +inf.

    `difference` is x - y as stored, in DELTA form.
    """
    if JS or KL:
        a = _shift(x, mx, k, INTERPRET)
        if DELTA:
            delta = difference * k - ((mx - my) * k + c)
            b = a - delta
        else:
            b = _shift(y, my, k, INTERPRET) + c
            delta = a - b
        d = tl.abs(delta)
        u = _exp2(-d, INTERPRET)
        h = _exp2(tl.maximum(a, b), INTERPRET)
        if JS:
            js += _js_term(delta, d, u, h, INTERPRET)
        if KL:
            to_p, to_q = _kl_terms(delta, d, u, h)
            pq += to_p
            qp += to_q
    if RANK:
        rank_p += (y > bar_p).to(tl.int32)
        rank_q += (x > bar_q).to(tl.int32)
    return js, pq, qp, rank_p, rank_q


@triton.jit
def _careful(
    x_ptr, y_ptr, vocab, low_p, low_q, mx, my, c, k, spread,
    HAS_Q: tl.constexpr, DELTA: tl.constexpr, TRUNCATE: tl.constexpr,
    LANES: tl.constexpr, VEC: tl.constexpr, INTERPRET: tl.constexpr,
):  # fmt: skip
    """Read 2 for a row with logits of -inf: JS and KL sums, sums of p log p and q log q, and who bars whom."""
    js = tl.zeros([LANES, VEC], tl.float32)
    pq, qp, plogp, qlogq, p_alone, q_alone = js, js, js, js, js, js
    for tile in range(0, tl.cdiv(vocab, LANES * VEC)):
        offs = tile * LANES * VEC + spread
        x = _load_x(x_ptr, y_ptr, offs, vocab, low_p, True, TRUNCATE, DELTA)
        a = tl.maximum(_shift(x, mx, k, INTERPRET), FLOOR)
        plogp += _exp2(a, INTERPRET) * a
        if HAS_Q:
            y = _load(y_ptr, offs, vocab, low_q, True, TRUNCATE)
            b = tl.maximum(_shift(y, my, k, INTERPRET), FLOOR)
            qlogq += _exp2(b, INTERPRET) * b
            delta = a - (b + c)
            d = tl.abs(delta)
            u = _exp2(-d, INTERPRET)
            h = _exp2(tl.maximum(a, b + c), INTERPRET)
            js += _js_term(delta, d, u, h, INTERPRET)
            to_p, to_q = _kl_terms(delta, d, u, h)
            pq += to_p
            qp += to_q
            p_alone = tl.where((x > float("-inf")) & (y == float("-inf")), 1.0, p_alone)
            q_alone = tl.where((y > float("-inf")) & (x == float("-inf")), 1.0, q_alone)
    pq_sum = tl.where(_total(p_alone) > 0.0, float("inf"), _total(pq))
    qp_sum = tl.where(_total(q_alone) > 0.0, float("inf"), _total(qp))
    return _total(js), pq_sum, qp_sum, _total(plogp), _total(qlogq)


@triton.jit
def _total(values):
    return tl.sum(tl.sum(values, 1), 0)


@triton.jit
def _first_index(values, offs, top):
    index = tl.min(tl.where(values == top, offs, NO_INDEX), 0)
    return tl.where((index == NO_INDEX) | (top == FLOOR), 0, index)


@triton.jit
def stats_kernel(
    x_ptr, y_ptr, ids_ptr, lse_p_in, lse_q_in, low_p_ptr, low_q_ptr,
    js_ptr, kl_pq_ptr, kl_qp_ptr, entropy_p_ptr, entropy_q_ptr, logp_p_ptr, logp_q_ptr, lse_p_ptr, lse_q_ptr,
    argmax_p_ptr, argmax_q_ptr, rank_p_ptr, rank_q_ptr,
    vocab, x_row, y_row, k,
    HAS_Q: tl.constexpr, DELTA: tl.constexpr, TRUNCATE: tl.constexpr, GIVEN_P: tl.constexpr, GIVEN_Q: tl.constexpr,
    JS: tl.constexpr, KL_PQ: tl.constexpr, KL_QP: tl.constexpr, ENTROPY_P: tl.constexpr, ENTROPY_Q: tl.constexpr,
    LOGP_P: tl.constexpr, LOGP_Q: tl.constexpr, ARGMAX: tl.constexpr, RANK: tl.constexpr,
    LANES: tl.constexpr, VEC: tl.constexpr, INTERPRET: tl.constexpr,
):  # fmt: skip
    """Writes one row's statistics; pointers of statistics that are not wanted are never touched.

    The flags name what is wanted; ARGMAX covers both arg-maxes. GIVEN_P / GIVEN_Q: log-normalisers are read, not
    computed, and read 1 leaves that side out unless its entropy or arg-max is wanted.
    """
    row = tl.program_id(0).to(tl.int64)
    x_ptr += row * x_row
    y_ptr += row * y_row
    TILE: tl.constexpr = LANES * VEC
    KL: tl.constexpr = KL_PQ or KL_QP
    FIND: tl.constexpr = ARGMAX or RANK
    READ_P: tl.constexpr = (not GIVEN_P) or ENTROPY_P or FIND
    READ_Q: tl.constexpr = HAS_Q and ((not GIVEN_Q) or ENTROPY_Q or FIND)
    lanes = tl.arange(0, LANES)
    spread = lanes[:, None] * VEC + tl.arange(0, VEC)[None, :]
    low_p = tl.load(low_p_ptr + row) if TRUNCATE else 0.0
    low_q = tl.load(low_q_ptr + row) if TRUNCATE else 0.0
    full = vocab // TILE

    mx = tl.full([LANES], FLOOR, tl.float32)
    sx = tl.zeros([LANES], tl.float32)
    tx = tl.zeros([LANES], tl.float32)
    ix = tl.zeros([LANES], tl.int32)
    my, sy, ty, iy = mx, sx, tx, ix
    if READ_P or READ_Q:
        for tile in range(0, full):
            offs = tile * TILE + spread
            if READ_P:
                x = _load_x(x_ptr, y_ptr, offs, vocab, low_p, False, TRUNCATE, DELTA)
                mx, sx, tx, ix = _online(x, mx, sx, tx, ix, tile, k, ENTROPY_P, FIND, INTERPRET)
            if READ_Q:
                y = _load(y_ptr, offs, vocab, low_q, False, TRUNCATE)
                my, sy, ty, iy = _online(y, my, sy, ty, iy, tile, k, ENTROPY_Q, FIND, INTERPRET)
        if full * TILE < vocab:
            offs = full * TILE + spread
            if READ_P:
                x = _load_x(x_ptr, y_ptr, offs, vocab, low_p, True, TRUNCATE, DELTA)
                mx, sx, tx, ix = _online(x, mx, sx, tx, ix, full, k, ENTROPY_P, FIND, INTERPRET)
            if READ_Q:
                y = _load(y_ptr, offs, vocab, low_q, True, TRUNCATE)
                my, sy, ty, iy = _online(y, my, sy, ty, iy, full, k, ENTROPY_Q, FIND, INTERPRET)

    # Normalisers: lse = (peak k + log2 sum) ln 2. A row that is -inf throughout has the sum 0.
    peak_p, log_p, entropy_p = _merge(mx, sx, tx, k, INTERPRET)
    peak_q, log_q, entropy_q = _merge(my, sy, ty, k, INTERPRET)
    arg_p, arg_q, bar_p, bar_q = 0, 0, 0.0, 0.0
    if FIND:
        group = tl.min(tl.where(mx == peak_p, ix * TILE + lanes * VEC, NO_INDEX), 0)
        near_p = group + tl.arange(0, VEC)
        found = _load_x(x_ptr, y_ptr, near_p, vocab, low_p, True, TRUNCATE, DELTA)
        arg_p = _first_index(found, near_p, peak_p)
        if HAS_Q:
            group = tl.min(tl.where(my == peak_q, iy * TILE + lanes * VEC, NO_INDEX), 0)
            near_q = group + tl.arange(0, VEC)
            arg_q = _first_index(_load(y_ptr, near_q, vocab, low_q, True, TRUNCATE), near_q, peak_q)
    if ARGMAX:
        tl.store(argmax_p_ptr + row, arg_p.to(tl.int64))
        if HAS_Q:
            tl.store(argmax_q_ptr + row, arg_q.to(tl.int64))
    if GIVEN_P:
        peak_p = tl.load(lse_p_in + row) * LOG2E / k
        log_p = tl.full([], 0.0, tl.float32)
    if GIVEN_Q:
        peak_q = tl.load(lse_q_in + row) * LOG2E / k
        log_q = tl.full([], 0.0, tl.float32)
    tl.store(lse_p_ptr + row, (peak_p * k + log_p) * LN2)
    if HAS_Q:
        tl.store(lse_q_ptr + row, (peak_q * k + log_q) * LN2)
    if LOGP_P or LOGP_Q:
        token = tl.load(ids_ptr + row).to(tl.int64)
        if LOGP_P:
            of_p = tl.load(x_ptr + token).to(tl.float32)
            if DELTA:
                of_p += tl.load(y_ptr + token).to(tl.float32)
            tl.store(logp_p_ptr + row, (_shift(of_p, peak_p, k, INTERPRET) - log_p) * LN2)
        if LOGP_Q:
            of_q = tl.load(y_ptr + token).to(tl.float32)
            tl.store(logp_q_ptr + row, (_shift(of_q, peak_q, k, INTERPRET) - log_q) * LN2)

    js, pq, qp = 0.0, 0.0, 0.0
    c = log_p - log_q
    if (JS or KL or RANK) and not TRUNCATE:
        if RANK:
            bar_p = tl.maximum(
                tl.load(y_ptr + arg_p).to(tl.float32), FLOOR
            )  # FLOOR: the padding never counts
            bar_q = tl.maximum(_load_x(x_ptr, y_ptr, arg_q, vocab, low_p, False, False, DELTA), FLOOR)
        js_tile = tl.zeros([LANES, VEC], tl.float32)
        pq_tile, qp_tile, diff = js_tile, js_tile, js_tile
        n_p = tl.zeros([LANES, VEC], tl.int32)
        n_q = n_p
        if full * TILE < vocab:
            offs = full * TILE + spread
            x = _load_x(x_ptr, y_ptr, offs, vocab, low_p, True, TRUNCATE, DELTA)
            y = _load(y_ptr, offs, vocab, low_q, True, TRUNCATE)
            if DELTA:
                diff = tl.where(offs < vocab, _load(x_ptr, offs, vocab, low_p, True, False), 0.0)
            js_tile, pq_tile, qp_tile, n_p, n_q = _second(
                x, y, peak_p, peak_q, c, k, bar_p, bar_q, js_tile, pq_tile, qp_tile, n_p, n_q, diff,
                JS, KL, RANK, DELTA, INTERPRET,
            )  # fmt: skip
        for back in range(0, full):
            offs = (full - 1 - back) * TILE + spread
            x = _load_x(x_ptr, y_ptr, offs, vocab, low_p, False, TRUNCATE, DELTA)
            y = _load(y_ptr, offs, vocab, low_q, False, TRUNCATE)
            if DELTA:
                diff = _load(x_ptr, offs, vocab, low_p, False, False)
            js_tile, pq_tile, qp_tile, n_p, n_q = _second(
                x, y, peak_p, peak_q, c, k, bar_p, bar_q, js_tile, pq_tile, qp_tile, n_p, n_q, diff,
                JS, KL, RANK, DELTA, INTERPRET,
            )  # fmt: skip
        js, pq, qp = _total(js_tile), _total(pq_tile), _total(qp_tile)
        if RANK:
            tl.store(rank_p_ptr + row, 1 + _total(n_p).to(tl.int64))
            tl.store(rank_q_ptr + row, 1 + _total(n_q).to(tl.int64))

    # NaN sums: a logit of -inf somewhere (or a row that is NaN, which stays so). Rare, and read once more.
    probe = js + pq + qp
    if ENTROPY_P:
        probe += entropy_p
    if ENTROPY_Q:
        probe += entropy_q
    if JS or KL or ENTROPY_P or ENTROPY_Q:
        if TRUNCATE or probe != probe:
            js, pq, qp, plogp, qlogq = _careful(
                x_ptr, y_ptr, vocab, low_p, low_q, peak_p, peak_q, c, k, spread,
                HAS_Q, DELTA, TRUNCATE, LANES, VEC, INTERPRET,
            )  # fmt: skip
            entropy_p = _entropy(log_p, plogp * _exp2(-log_p, INTERPRET))
            entropy_q = _entropy(log_q, qlogq * _exp2(-log_q, INTERPRET))
    if ENTROPY_P:
        tl.store(entropy_p_ptr + row, entropy_p)
    if ENTROPY_Q:
        tl.store(entropy_q_ptr + row, entropy_q)
    inverse = _exp2(-log_p, INTERPRET)
    inverse = tl.where((log_p == float("-inf")) | (log_q == float("-inf")), float("nan"), inverse)
    if JS:
        value = js * inverse * (0.5 * LN2)
        tl.store(js_ptr + row, tl.where(value > MAX_JS, MAX_JS, tl.where(value < 0.0, 0.0, value)))
    if KL_PQ:
        value = pq * inverse
        tl.store(kl_pq_ptr + row, tl.where(value < 0.0, 0.0, value))
    if KL_QP:
        value = qp * inverse
        tl.store(kl_qp_ptr + row, tl.where(value < 0.0, 0.0, value))
