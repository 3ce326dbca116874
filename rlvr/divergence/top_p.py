"""The nucleus of a row: the smallest set of most likely tokens that holds a share `top_p` of the mass."""

from __future__ import annotations

import math

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
        mass = (_scaled(top, temperature).double() - lse[rows, None].double()).exp_().cumsum_(-1)
        last = (mass < top_p).sum(-1)  # index of the token with which the share is reached
        found = last < k
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


def _scaled(x: Tensor, temperature: float) -> Tensor:
    return (x if x.dtype == torch.float64 else x.float()) / temperature
