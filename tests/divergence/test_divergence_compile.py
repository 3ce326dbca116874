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
@pytest.mark.parametrize("extra", [frozenset(), frozenset({"DELTA"})])
def test_fp32_rows(extra: frozenset[str]) -> None:
    cost = measure(VARIANTS["all"] | extra, "fp32")
    assert cost.spill_bytes == 0
    assert 20 < cost.per_pair <= 100


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags",
    [
        "LOGP_P",
        "ENTROPY_P ARGMAX LOGP_P",
        "HAS_Q JS TRUNCATE",
        "HAS_Q JS KL_PQ KL_QP TRUNCATE DELTA",
        "HAS_Q JS GIVEN_P GIVEN_Q",
        "HAS_Q JS KL_QP ENTROPY_Q GIVEN_P GIVEN_Q RANK",
        "HAS_Q KL_PQ GIVEN_Q DELTA",
        "HAS_Q RANK",
        "HAS_Q ARGMAX ENTROPY_Q LOGP_Q",
    ],
)
def test_other_combinations_of_flags_compile(flags: str) -> None:
    """The compiler checks types that the interpreter does not."""
    assert measure(frozenset(flags.split())).spill_bytes == 0
