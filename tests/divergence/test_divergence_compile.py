"""What an offline compile for sm_90 proves without a GPU: no spills, few instructions for each pair."""

from __future__ import annotations

import pytest

pytest.importorskip("triton")

from benchmarks.divergence.sass import VARIANTS, measure

CEILINGS = {"js + logp + lse": 42, "js + both kl": 61, "all": 70}


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_bf16_rows(variant: str) -> None:
    cost = measure(VARIANTS[variant])
    assert cost.spill_bytes == 0
    assert 20 < cost.per_pair <= CEILINGS[variant]


@pytest.mark.slow
@pytest.mark.parametrize("delta", [False, True])
def test_fp32_rows(delta: bool) -> None:
    cost = measure(VARIANTS["all"], "fp32", delta)
    assert cost.spill_bytes == 0
    assert 20 < cost.per_pair <= 100
