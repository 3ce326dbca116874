"""Where training stops with a sentence because its numbers are no numbers."""

from __future__ import annotations

import math

import pytest

from rlvr.config import Config
from rlvr.divergence.checks import NotFiniteError
from rlvr.errors import DivergedError
from rlvr.learner.diverged import check_norm, finite_logits

CFG = Config(recipe="test")


@pytest.mark.parametrize("norm", [math.nan, math.inf, -1.0])
def test_a_gradient_that_is_no_number_ends_the_run_with_the_keys_that_help(norm: float) -> None:
    with pytest.raises(DivergedError, match=r"at update 8: training has diverged.*learner\.lr than 0\.0001"):
        check_norm(norm, 7, CFG)


@pytest.mark.parametrize("norm", [0.0, 3.0, 1e30])
def test_other_gradients_pass(norm: float) -> None:
    check_norm(norm, 7, CFG)


@pytest.mark.parametrize(("updates", "said"), [(0, "model.path=builtin are damaged"), (3, "has diverged")])
def test_logits_that_are_no_numbers_are_blamed_on_the_weights_or_the_training(
    updates: int, said: str
) -> None:
    with pytest.raises(DivergedError, match=said), finite_logits(updates, CFG):
        raise NotFiniteError("logits_p holds NaN or +inf in row 0")
