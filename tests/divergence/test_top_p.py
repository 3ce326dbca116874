"""Nuclei gathered from long rows hold what truncated rows hold."""

from __future__ import annotations

import math

import pytest
import torch

from rlvr.divergence import dist_stats
from rlvr.divergence.top_p import FIRST_LOOK, nuclei, truncate

VOCABULARY = 3 * FIRST_LOOK
WANT = ("js_top_p", "kl_pq_top_p", "kl_qp_top_p")


def rows(spread: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = spread * torch.randn(40, VOCABULARY, generator=generator)
    return x, x + 0.3 * torch.randn(x.shape, generator=generator)


@pytest.mark.parametrize(("spread", "parts"), [(6.0, 1), (1.3, 2), (0.1, 1)])  # all nuclei short, some, none
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_every_row_once_and_what_truncation_keeps(spread: float, parts: int, temperature: float) -> None:
    x, y = rows(spread * temperature)
    wanted = [truncate(side, 0.8, temperature) for side in (x, y)]
    seen: list[int] = []
    found = list(nuclei(x, y, 0.8, temperature, len(x)))
    for places, kept_x, kept_y in found:
        seen += places.tolist()
        for side, kept in zip(wanted, (kept_x, kept_y), strict=True):
            assert (kept > -math.inf).sum(1).equal((side[places] > -math.inf).sum(1))
            assert kept.logsumexp(1).allclose(side[places].logsumexp(1))
        together = (wanted[0][places] > -math.inf) | (wanted[1][places] > -math.inf)
        assert ((kept_x > -math.inf) | (kept_y > -math.inf)).sum(1).equal(together.sum(1))  # none twice
    assert sorted(seen) == list(range(len(x)))
    assert len(found) == parts


@pytest.mark.parametrize("spread", [6.0, 1.0, 0.1])
def test_equals_the_oracle(spread: float) -> None:
    x, y = rows(spread, seed=1)
    got, wanted = (
        dist_stats(x, y, want=WANT, temperature=0.7, top_p=0.8, backend=b) for b in ("torch", "oracle")
    )
    for name in WANT:
        ours, theirs = getattr(got, name), getattr(wanted, name)
        assert ours.isinf().equal(theirs.isinf())
        torch.testing.assert_close(ours, theirs, rtol=2e-5, atol=1e-7)


def test_ties_that_reach_beyond_the_first_look_are_all_kept() -> None:
    x = torch.full((2, VOCABULARY), -30.0)
    x[:, : FIRST_LOOK + 50] = 1.0
    y = x.roll(20, 1)
    got, wanted = (dist_stats(x, y, want=WANT, top_p=0.3, backend=b) for b in ("torch", "oracle"))
    assert wanted.js_top_p[0] == pytest.approx(math.log(2) * 20 / (FIRST_LOOK + 50), rel=1e-5)
    torch.testing.assert_close(got.js_top_p, wanted.js_top_p)
