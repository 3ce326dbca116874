"""Rows that break careless kernels, and the comparison with the oracle that all backends must pass."""

from __future__ import annotations

import math
import os

import torch
from torch import Tensor

from rlvr.divergence import WANTS, DistStats, dist_stats

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = torch.device("cuda" if torch.cuda.is_available() and not INTERPRETED else "cpu")
BACKENDS = ["torch", "triton"] if INTERPRETED or DEVICE.type == "cuda" else ["torch"]
INF = math.inf
LN2 = math.log(2.0)


def adversarial_rows(vocab: int, tile: int = 2048) -> dict[str, tuple[Tensor, Tensor]]:
    """Returns named pairs of rows [vocab], vocab >= 8."""
    generator = torch.Generator().manual_seed(vocab)
    x, y = 3 * torch.randn(2, vocab, generator=generator)
    some = torch.rand(vocab, generator=generator) < 0.3
    some[:2], some[-1] = torch.tensor([True, False]), False
    one_hot = torch.full((vocab,), -INF)
    one_hot[vocab // 2] = 0.0
    leading = torch.arange(vocab) < min(tile, vocab - 1)
    dead = torch.full((vocab,), -INF)
    far = torch.where(some, 1e4, -1e4)
    near_120 = -120.0 + 0.1 * x
    return {
        "both barred": (x.masked_fill(some, -INF), y.masked_fill(some, -INF)),
        "barred in one": (x.masked_fill(some, -INF), y),
        "barred in the other": (x, y.masked_fill(some, -INF)),
        "leading tile barred": (x.masked_fill(leading, -INF), y.masked_fill(leading, -INF)),
        "leading tile barred in one": (x.masked_fill(leading, -INF), y),
        "dead": (dead, y),
        "both dead": (dead, dead),
        "huge": (far, -far),
        "huge against mild": (far, y),
        "shifted far apart": (x + 1e4, x - 1e4),
        "all near -120": (near_120, near_120 + 1e-2 * y),
        "one-hot, same": (one_hot, one_hot),
        "one-hot, disjoint": (one_hot, one_hot.roll(1)),
        "constant": (torch.zeros(vocab), torch.full((vocab,), 5.0)),
        "constant against normal": (torch.zeros(vocab), y),
        "ties": (x.round(), y.round()),
        "peaked, close": (
            torch.where(torch.arange(vocab) == 3, 12.0, 0.1 * x),
            0.1 * x + 12.0 * (some & ~some),
        ),
    }


def stacked(rows: dict[str, tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Returns x [T, V] and y [T, V] on the test device."""
    x, y = zip(*rows.values(), strict=True)
    return torch.stack(x).to(DEVICE), torch.stack(y).to(DEVICE)


def close_pair(n_tokens: int, vocab: int, scale: float, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Returns logits of P, logits of Q that differ by noise of the given scale, and sampled ids."""
    generator = torch.Generator().manual_seed(seed)
    x = 3 * torch.randn(n_tokens, vocab, generator=generator)
    y = x + scale * torch.randn(n_tokens, vocab, generator=generator)
    ids = torch.randint(vocab, (n_tokens,), generator=generator)
    return x.to(DEVICE), y.to(DEVICE), ids.to(DEVICE)


def assert_like_oracle(got: DistStats, expected: DistStats) -> None:
    """JS within 2e-5 relative or 1e-11; KL within 3e-5 or 1e-10; the others within fp32 rounding."""
    wanted = dict(expected.items())
    assert dict(got.items()).keys() == wanted.keys()
    for name, value in got.items():
        reference = wanted[name]
        if value.dtype == torch.int64:
            assert torch.equal(value, reference), f"{name}: {value.tolist()} instead of {reference.tolist()}"
            continue
        relative, absolute = 2e-6, 4e-6
        if name.startswith("js"):
            relative, absolute = 2e-5, 1e-11
        elif name.startswith("kl"):
            relative, absolute = 3e-5, 1e-10
        torch.testing.assert_close(
            value,
            reference,
            rtol=relative,
            atol=absolute,
            equal_nan=True,
            msg=lambda text, n=name: f"{n}: {text}",
        )


def check(x: Tensor, y: Tensor, ids: Tensor | None, backend: str, **options: object) -> DistStats:
    """Computes everything with the backend, compares it with the oracle and returns it."""
    want = [name for name in WANTS if ids is not None or not name.startswith("logp")]
    options = {"want": want, "top_p": 0.7} | options
    got = dist_stats(x, y, ids, backend=backend, **options)
    assert_like_oracle(got, dist_stats(x, y, ids, backend="oracle", **options))
    return got
