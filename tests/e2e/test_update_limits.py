"""The first updates against plain torch: gradient clipping and Adam's state, for every ZeRO stage and precision."""

from __future__ import annotations

import pytest

from tests.helpers.probes import run_probe

pytestmark = pytest.mark.e2e

BROKEN_AT = 5.0  # as tests.helpers.update_probe has it, which sets torch up anew
LIMITS = (0.0, 0.5, BROKEN_AT, 100.0)
COMBINATIONS = [
    (stage, dtype, limit) for stage in (0, 1, 2, 3) for dtype in ("float32", "bfloat16") for limit in LIMITS
]


@pytest.fixture(scope="module")
def probed() -> dict[str, dict[str, list[dict[str, float]]]]:
    names = [f"{stage},{dtype},{limit}" for stage, dtype, limit in COMBINATIONS]
    return run_probe("update_probe", *names)


@pytest.mark.parametrize(("stage", "dtype", "limit"), COMBINATIONS)
def test_update_equals_plain_torch(probed: dict, stage: int, dtype: str, limit: float) -> None:
    result = probed[f"{stage},{dtype},{limit}"]
    ours, plain = result["deepspeed"], result["torch"]
    assert (
        5 < plain[0]["norm"] < 100
    )  # beyond all limits but the last: the logged norm is the one before clipping
    # The second batch is scored by weights that bf16 rounding has moved apart.
    tolerances = ((1e-4, 1e-2), (1e-3, 5e-2)) if dtype == "float32" else ((1e-2, 2e-2), (5e-2, 1e-1))
    for first_or_second, (close, near) in zip((0, 1), tolerances, strict=True):
        mine, theirs = ours[first_or_second], plain[first_or_second]
        assert mine["norm"] == pytest.approx(theirs["norm"], rel=near)
        assert mine["momentum"] == pytest.approx(theirs["momentum"], rel=near)
        assert mine["moved"] == pytest.approx(theirs["moved"], rel=close)
    clipped = min(plain[0]["norm"], limit or float("inf"))
    assert ours[0]["momentum"] == pytest.approx(0.1 * clipped, rel=2e-2)  # beta1 is 0.9


@pytest.mark.parametrize(("stage", "dtype"), sorted({(stage, dtype) for stage, dtype, _ in COMBINATIONS}))
def test_a_gradient_that_is_not_finite_ends_the_run(probed: dict, stage: int, dtype: str) -> None:
    said = probed[f"{stage},{dtype},{BROKEN_AT}"]["broken"]
    assert said.startswith("the norm of the gradient is ")
    assert "at update 1" in said
