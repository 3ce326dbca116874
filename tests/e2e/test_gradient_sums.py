"""Gradients of many bf16 micro-batches reach the optimiser as their fp32 sum, for every ZeRO stage."""

from __future__ import annotations

import pytest

from tests.helpers.probes import run_probe

pytestmark = pytest.mark.e2e

# Of the gradient's norm. Unsharded, the sum is rounded once to bf16, of which 8 bits are significant.
ERROR = {"0": 2.0**-8, "1": 1e-6, "2": 1e-6, "3": 1e-6}


@pytest.fixture(scope="module")
def probed() -> dict[str, dict[str, float]]:
    return run_probe("accumulation_probe", *ERROR)


@pytest.mark.parametrize("stage", ERROR)
def test_gradients_of_bf16_micro_batches_are_added_up_in_fp32(probed: dict, stage: str) -> None:
    result = probed[stage]
    assert result["micro_batches"] > 40
    assert result["in_bf16"] > 0.01, "the batch must be one on which a sum in bf16 goes wrong"
    assert result["ours"] < ERROR[stage]
