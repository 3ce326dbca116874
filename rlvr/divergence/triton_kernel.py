"""The Triton kernel: one program for each row, two streaming reads, everything kept in registers.

Read 1 finds the normalisers with an online maximum that each lane keeps for itself; read 2, in reversed order
so that its first tiles still lie in the L2 cache, sums the divergences. A row with logits of -inf shows as
NaN sums and is read once more, with care. No atomics: two runs agree bit for bit.
"""

from __future__ import annotations

import triton
import triton.language as tl

from rlvr.divergence.triton_math import (
    FLOOR,
    LN2,
    LOG2E,
    MAX_JS,
    NO_INDEX,
    SWITCH,
    entropy_of,
    exp2,
    js_term,
    kl_terms,
    load_logits,
    load_p,
    merge,
    online,
    shift,
)


@triton.jit
def _read_one(
    x_ptr, y_ptr, vocab, low_p, low_q, k, spread, READ_P: tl.constexpr, READ_Q: tl.constexpr,
    DELTA: tl.constexpr, TRUNCATE: tl.constexpr, ENTROPY_P: tl.constexpr, ENTROPY_Q: tl.constexpr,
    FIND: tl.constexpr, LANES: tl.constexpr, VEC: tl.constexpr, INTERPRET: tl.constexpr,
):  # fmt: skip
    """Each lane's maximum, sum, weighted sum and tile of the maximum, of P and of Q; see `online`."""
    TILE: tl.constexpr = LANES * VEC
    mx = tl.full([LANES], FLOOR, tl.float32)
    sx = tl.zeros([LANES], tl.float32)
    tx = tl.zeros([LANES], tl.float32)
    ix = tl.zeros([LANES], tl.int32)
    my, sy, ty, iy = mx, sx, tx, ix
    full = vocab // TILE
    if READ_P or READ_Q:
        for tile in range(0, full):
            offs = tile * TILE + spread
            if READ_P:
                x = load_p(x_ptr, y_ptr, offs, vocab, low_p, False, TRUNCATE, DELTA)
                mx, sx, tx, ix = online(x, mx, sx, tx, ix, tile, k, ENTROPY_P, FIND, INTERPRET)
            if READ_Q:
                y = load_logits(y_ptr, offs, vocab, low_q, False, TRUNCATE)
                my, sy, ty, iy = online(y, my, sy, ty, iy, tile, k, ENTROPY_Q, FIND, INTERPRET)
        if full * TILE < vocab:
            offs = full * TILE + spread
            if READ_P:
                x = load_p(x_ptr, y_ptr, offs, vocab, low_p, True, TRUNCATE, DELTA)
                mx, sx, tx, ix = online(x, mx, sx, tx, ix, full, k, ENTROPY_P, FIND, INTERPRET)
            if READ_Q:
                y = load_logits(y_ptr, offs, vocab, low_q, True, TRUNCATE)
                my, sy, ty, iy = online(y, my, sy, ty, iy, full, k, ENTROPY_Q, FIND, INTERPRET)
    return mx, sx, tx, ix, my, sy, ty, iy


@triton.jit
def _read_two(
    x_ptr, y_ptr, vocab, mx, my, c, k, bar_p, bar_q, spread, JS: tl.constexpr, KL: tl.constexpr,
    RANK: tl.constexpr, DELTA: tl.constexpr, LANES: tl.constexpr, VEC: tl.constexpr, INTERPRET: tl.constexpr,
):  # fmt: skip
    """Sums of JS and both KLs, and how many tokens lie above each bar."""
    TILE: tl.constexpr = LANES * VEC
    js = tl.zeros([LANES, VEC], tl.float32)
    pq, qp, n_p, n_q, diff = js, js, js, js, js  # counts in fp32 are exact up to 2^24
    full = vocab // TILE
    if full * TILE < vocab:
        offs = full * TILE + spread
        x = load_p(x_ptr, y_ptr, offs, vocab, 0.0, True, False, DELTA)
        y = load_logits(y_ptr, offs, vocab, 0.0, True, False)
        if DELTA:
            diff = tl.where(offs < vocab, load_logits(x_ptr, offs, vocab, 0.0, True, False), 0.0)
        js, pq, qp, n_p, n_q = _second(
            x, y, mx, my, c, k, bar_p, bar_q, js, pq, qp, n_p, n_q, diff, JS, KL, RANK, DELTA, INTERPRET
        )
    for back in range(0, full):
        offs = (full - 1 - back) * TILE + spread
        x = load_p(x_ptr, y_ptr, offs, vocab, 0.0, False, False, DELTA)
        y = load_logits(y_ptr, offs, vocab, 0.0, False, False)
        if DELTA:
            diff = load_logits(x_ptr, offs, vocab, 0.0, False, False)
        js, pq, qp, n_p, n_q = _second(
            x, y, mx, my, c, k, bar_p, bar_q, js, pq, qp, n_p, n_q, diff, JS, KL, RANK, DELTA, INTERPRET
        )
    return _total(js), _total(pq), _total(qp), _total(n_p), _total(n_q)


@triton.jit
def _second(
    x, y, mx, my, c, k, bar_p, bar_q, js, pq, qp, rank_p, rank_q, difference,
    JS: tl.constexpr, KL: tl.constexpr, RANK: tl.constexpr, DELTA: tl.constexpr, INTERPRET: tl.constexpr,
):  # fmt: skip
    """Folds a tile into the sums of read 2; a logit of -inf makes them NaN or +inf.

    `difference` is x - y as stored, in DELTA form.
    """
    if JS or KL:
        a = shift(x, mx, k, INTERPRET)
        if DELTA:
            delta = difference * k - ((mx - my) * k + c)
            b = a - delta
        else:
            b = shift(y, my, k, INTERPRET) + c
            delta = a - b
        d = tl.abs(delta)
        u = exp2(-d, INTERPRET)
        h = exp2(tl.maximum(a, b), INTERPRET)
        s = delta * delta
        near = s < SWITCH
        if JS:
            js += js_term(s, near, d * u, u, h, INTERPRET)
        if KL:
            to_p, to_q = kl_terms(delta, d, s, near, d * u, u, h)
            pq += to_p
            qp += to_q
    if RANK:
        rank_p += tl.where(y > bar_p, 1.0, 0.0)
        rank_q += tl.where(x > bar_q, 1.0, 0.0)
    return js, pq, qp, rank_p, rank_q


@triton.jit
def _careful(
    x_ptr, y_ptr, vocab, low_p, low_q, mx, my, c, k, spread,
    HAS_Q: tl.constexpr, DELTA: tl.constexpr, TRUNCATE: tl.constexpr,
    LANES: tl.constexpr, VEC: tl.constexpr, INTERPRET: tl.constexpr,
):  # fmt: skip
    """Read 2 for a row with logits of -inf: JS and KL sums, sums of p log p and q log q."""
    js = tl.zeros([LANES, VEC], tl.float32)
    pq, qp, plogp, qlogq, p_alone, q_alone = js, js, js, js, js, js
    for tile in range(0, tl.cdiv(vocab, LANES * VEC)):
        offs = tile * LANES * VEC + spread
        x = load_p(x_ptr, y_ptr, offs, vocab, low_p, True, TRUNCATE, DELTA)
        a = tl.maximum(shift(x, mx, k, INTERPRET), FLOOR)
        plogp += exp2(a, INTERPRET) * a
        if HAS_Q:
            y = load_logits(y_ptr, offs, vocab, low_q, True, TRUNCATE)
            b = tl.maximum(shift(y, my, k, INTERPRET), FLOOR)
            qlogq += exp2(b, INTERPRET) * b
            delta = a - (b + c)
            d = tl.abs(delta)
            u = exp2(-d, INTERPRET)
            h = exp2(tl.maximum(a, b + c), INTERPRET)
            s = delta * delta
            near = s < SWITCH
            js += js_term(s, near, d * u, u, h, INTERPRET)
            to_p, to_q = kl_terms(delta, d, s, near, d * u, u, h)
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
    HAS_Q: tl.constexpr, DELTA: tl.constexpr, TRUNCATE: tl.constexpr,
    GIVEN_P: tl.constexpr, GIVEN_Q: tl.constexpr,
    JS: tl.constexpr, KL_PQ: tl.constexpr, KL_QP: tl.constexpr,
    ENTROPY_P: tl.constexpr, ENTROPY_Q: tl.constexpr,
    LOGP_P: tl.constexpr, LOGP_Q: tl.constexpr, ARGMAX: tl.constexpr, RANK: tl.constexpr,
    LANES: tl.constexpr, VEC: tl.constexpr, INTERPRET: tl.constexpr,
):  # fmt: skip
    """Writes one row's statistics; pointers of statistics that are not wanted are never touched.

    The flags name what is wanted; ARGMAX covers both arg-maxes. GIVEN_P / GIVEN_Q: log-normalisers are read,
    not computed, and read 1 leaves that side out unless its entropy or arg-max is wanted.
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

    mx, sx, tx, ix, my, sy, ty, iy = _read_one(
        x_ptr, y_ptr, vocab, low_p, low_q, k, spread, READ_P, READ_Q,
        DELTA, TRUNCATE, ENTROPY_P, ENTROPY_Q, FIND, LANES, VEC, INTERPRET,
    )  # fmt: skip

    # Normalisers: lse = (peak k + log2 sum) ln 2. A row that is -inf throughout has the sum 0.
    peak_p, log_p, entropy_p = merge(mx, sx, tx, k, INTERPRET)
    peak_q, log_q, entropy_q = merge(my, sy, ty, k, INTERPRET)
    arg_p, arg_q, bar_p, bar_q = 0, 0, 0.0, 0.0
    if FIND:
        group = tl.min(tl.where(mx == peak_p, ix * TILE + lanes * VEC, NO_INDEX), 0)
        near_p = group + tl.arange(0, VEC)
        found = load_p(x_ptr, y_ptr, near_p, vocab, low_p, True, TRUNCATE, DELTA)
        arg_p = _first_index(found, near_p, peak_p)
        if HAS_Q:
            group = tl.min(tl.where(my == peak_q, iy * TILE + lanes * VEC, NO_INDEX), 0)
            near_q = group + tl.arange(0, VEC)
            arg_q = _first_index(load_logits(y_ptr, near_q, vocab, low_q, True, TRUNCATE), near_q, peak_q)
    if ARGMAX:
        tl.store(argmax_p_ptr + row, arg_p)
        if HAS_Q:
            tl.store(argmax_q_ptr + row, arg_q)
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
            tl.store(logp_p_ptr + row, (shift(of_p, peak_p, k, INTERPRET) - log_p) * LN2)
        if LOGP_Q:
            of_q = tl.load(y_ptr + token).to(tl.float32)
            tl.store(logp_q_ptr + row, (shift(of_q, peak_q, k, INTERPRET) - log_q) * LN2)

    js, pq, qp = 0.0, 0.0, 0.0
    c = log_p - log_q
    if (JS or KL or RANK) and not TRUNCATE:
        if RANK:
            # At least FLOOR, so that padding never counts as larger.
            bar_p = tl.maximum(tl.load(y_ptr + arg_p).to(tl.float32), FLOOR)
            bar_q = tl.maximum(load_p(x_ptr, y_ptr, arg_q, vocab, low_p, False, False, DELTA), FLOOR)
        js, pq, qp, n_p, n_q = _read_two(
            x_ptr, y_ptr, vocab, peak_p, peak_q, c, k, bar_p, bar_q, spread,
            JS, KL, RANK, DELTA, LANES, VEC, INTERPRET,
        )  # fmt: skip
        if RANK:
            tl.store(rank_p_ptr + row, 1 + n_p.to(tl.int64))
            tl.store(rank_q_ptr + row, 1 + n_q.to(tl.int64))

    # NaN sums: a logit of -inf somewhere (or a row that is NaN, which stays so). Rare, and read once more.
    probe = js + pq + qp
    if ENTROPY_P:
        probe += entropy_p
    if ENTROPY_Q:
        probe += entropy_q
    if JS or KL or ENTROPY_P or ENTROPY_Q:  # noqa: SIM102 (decided at compile time)
        if TRUNCATE or probe != probe:
            js, pq, qp, plogp, qlogq = _careful(
                x_ptr, y_ptr, vocab, low_p, low_q, peak_p, peak_q, c, k, spread,
                HAS_Q, DELTA, TRUNCATE, LANES, VEC, INTERPRET,
            )  # fmt: skip
            entropy_p = entropy_of(log_p, plogp * exp2(-log_p, INTERPRET))
            entropy_q = entropy_of(log_q, qlogq * exp2(-log_q, INTERPRET))
    if ENTROPY_P:
        tl.store(entropy_p_ptr + row, entropy_p)
    if ENTROPY_Q:
        tl.store(entropy_q_ptr + row, entropy_q)
    inverse = exp2(-log_p, INTERPRET)
    inverse = tl.where((log_p == float("-inf")) | (log_q == float("-inf")), float("nan"), inverse)
    if JS:
        value = js * inverse * (0.5 * LN2)
        tl.store(js_ptr + row, tl.where(value > MAX_JS, MAX_JS, tl.where(value < 0.0, 0.0, value)))
    if KL_PQ:
        value = pq * inverse * LN2
        tl.store(kl_pq_ptr + row, tl.where(value < 0.0, 0.0, value))
    if KL_QP:
        value = qp * inverse * LN2
        tl.store(kl_qp_ptr + row, tl.where(value < 0.0, 0.0, value))
