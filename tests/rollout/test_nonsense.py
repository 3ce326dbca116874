"""What is refused of an engine's answers, and what is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.rollout.generation import Generation
from rlvr.rollout.nonsense import nonsense
from rlvr.types import Span

GOOD = Generation(
    np.asarray([5, 0, 49]), np.asarray([-0.5, 0.0, -20.0], dtype=np.float32), False, (Span(3, 0), Span(4, 2))
)


def said(answer: Generation, **limits: object) -> str | None:
    return nonsense(answer, **{"most_tokens": 8, "vocabulary": 50, "logprobs": True} | limits)


def test_an_answer_that_can_be_trained_on() -> None:
    assert said(GOOD) is said(GOOD, most_tokens=3) is None
    assert said(GOOD, vocabulary=None) is None
    assert said(replace(GOOD, logprobs=np.zeros(0, dtype=np.float32)), logprobs=False) is None
    one = Generation(np.asarray([7]), np.asarray([-0.5], dtype=np.float32), False, (Span(3, 0),))
    assert said(one) is said(one, most_tokens=1) is None
    assert (
        said(replace(one, spans=(Span(3, 0), Span(4, 1)))) is None
    )  # weights that came after its last token


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"token_ids": np.asarray([], dtype=np.int64)}, "0 tokens where 1 to 8"),
        ({"token_ids": np.arange(9)}, "9 tokens where 1 to 8"),
        ({"token_ids": np.asarray([1, -1, 2])}, "token ids -1 .. 2"),
        ({"token_ids": np.asarray([1, 50, 2])}, "token ids 1 .. 50 where the model has 0 .. 49"),
        ({"logprobs": np.zeros(0, dtype=np.float32)}, "0 log-probs for 3 tokens"),
        ({"spans": ()}, "weight versions"),
        ({"spans": (Span(3, 1),)}, "from tokens [1] on"),
        ({"spans": (Span(4, 0), Span(3, 2))}, "weight versions [4, 3]"),
        ({"spans": (Span(3, 0), Span(4, 0))}, "from tokens [0, 0] on"),
        ({"spans": (Span(3, 0), Span(4, 2), Span(5, 1))}, "from tokens [0, 2, 1] on"),
        ({"spans": (Span(3, 0), Span(4, 4))}, "from tokens [0, 4] on"),
    ],
)
def test_an_answer_that_is_refused(change: dict[str, object], word: str) -> None:
    assert word in (said(replace(GOOD, **change)) or "")


@given(st.integers(0, 2), st.sampled_from([np.nan, np.inf, -np.inf, 0.5]))
def test_a_log_prob_that_is_none_is_named_with_its_token(place: int, value: float) -> None:
    logprobs = GOOD.logprobs.copy()
    logprobs[place] = value
    found = said(replace(GOOD, logprobs=logprobs)) or ""
    assert found.startswith(f"log-prob {np.float32(value)} at token {place}")
    assert ("the weights have diverged" in found) == np.isnan(value)
