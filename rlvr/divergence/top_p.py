"""The nucleus of a row: the smallest set of most likely tokens that holds a share `top_p` of the mass."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

FIRST_LOOK = 256  # entries sorted before longer nuclei are tried; typical nuclei are far shorter


def nucleus_threshold(x: Tensor, top_p: float, temperature: float) -> Tensor:
    """Returns the smallest logit in the nucleus of every row of x [R, V], as [R] of x's dtype.

    The tokens kept are those with x >= threshold, so that all ties of the last one are kept. A row that is
    -inf throughout gets the threshold -inf. (Holtzman et al. 2020.)
    """
    n_rows, vocab = x.shape
    if n_rows == 0 or top_p >= 1.0:
        return torch.full((n_rows,), -math.inf, dtype=x.dtype, device=x.device)
    lse = torch.logsumexp(_scaled(x, temperature), -1)
    threshold = torch.empty(n_rows, dtype=x.dtype, device=x.device)
    rows = torch.arange(n_rows, device=x.device)
    k = min(vocab, FIRST_LOOK)
    while True:
        top = x[rows].topk(k, -1).values
        last, found = _reached(top, lse[rows], top_p, temperature)
        if k == vocab:
            last.clamp_(max=vocab - 1)  # rounding left the whole row a hair short of top_p
            found.fill_(True)
        threshold[rows[found]] = top[found].gather(1, last[found][:, None])[:, 0]
        rows = rows[~found]
        if rows.numel() == 0:
            return threshold
        k = min(vocab, 16 * k)


def truncate(x: Tensor, top_p: float, temperature: float) -> Tensor:
    """Returns x [R, V] with -inf outside each row's nucleus."""
    return x.masked_fill(x < nucleus_threshold(x, top_p, temperature)[:, None], -math.inf)


def nuclei(
    x: Tensor, y: Tensor, top_p: float, temperature: float, long_rows: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yields (rows, x, y): logits [r, K] of the tokens in either nucleus of some of the rows, -inf outside the own one.

    Columns are tokens in no order, each at most once in a row; K is small for rows whose nuclei are.
    Those of long nuclei come `long_rows` at a time, since sorting them takes several times their own memory.
    """
    rest = torch.arange(x.shape[0], device=x.device)
    if x.shape[0] and x.shape[1] > 2 * FIRST_LOOK:
        short, kept = _short_nuclei(x, y, top_p, temperature)
        if short.numel():
            yield short, *kept
        rest = torch.ones_like(rest, dtype=torch.bool).index_fill_(0, short, False).nonzero()[:, 0]
    for part in rest.split(long_rows):
        if part.numel():  # splitting nothing gives one empty part
            yield part, truncate(x[part], top_p, temperature), truncate(y[part], top_p, temperature)


def _short_nuclei(
    x: Tensor, y: Tensor, top_p: float, temperature: float
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """The rows of which both nuclei are among the first FIRST_LOOK tokens, and these as in `nuclei`."""
    tops, lows, short = [], [], torch.ones(x.shape[0], dtype=torch.bool, device=x.device)
    for side in (x, y):
        top = side.topk(FIRST_LOOK, -1)
        lse = torch.logsumexp(_scaled(side, temperature), -1)
        last, found = _reached(top.values, lse, top_p, temperature)
        low = top.values.gather(1, last.clamp(max=FIRST_LOOK - 1)[:, None])
        short &= found & (low[:, 0] > top.values[:, -1])  # else a tie may lie beyond
        tops.append(top)
        lows.append(low)
    rows = short.nonzero()[:, 0]
    own_x, own_y = (top.values[rows] for top in tops)
    ids_x, ids_y = (top.indices[rows] for top in tops)
    low_x, low_y = (low[rows] for low in lows)
    in_x, in_y = own_x >= low_x, own_y >= low_y
    first, second = (int(inside.sum(-1).max()) if len(rows) else 0 for inside in (in_x, in_y))
    rows_y = rows[:, None]
    y_there = y[rows_y, ids_x[:, :first]]
    only_y = in_y[:, :second] & (x[rows_y, ids_y[:, :second]] < low_x)
    kept_x = own_x[:, :first].masked_fill(~in_x[:, :first], -math.inf)
    outside = kept_x.new_full(only_y.shape, -math.inf)
    kept_y = (
        y_there.masked_fill(~in_x[:, :first] | (y_there < low_y), -math.inf),
        own_y[:, :second].masked_fill(~only_y, -math.inf),
    )
    return rows, (torch.cat((kept_x, outside), 1), torch.cat(kept_y, 1))


def _reached(top: Tensor, lse: Tensor, top_p: float, temperature: float) -> tuple[Tensor, Tensor]:
    """Of rows of logits in falling order: the place at which the share is reached, and whether it is."""
    mass = (_scaled(top, temperature).double() - lse[:, None].double()).exp_().cumsum_(-1)
    last = (mass < top_p).sum(-1)
    return last, last < top.shape[1]


def _scaled(x: Tensor, temperature: float) -> Tensor:
    return (x if x.dtype == torch.float64 else x.float()) / temperature
