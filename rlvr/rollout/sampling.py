"""How responses are sampled."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from rlvr.rollout.stop import Ends

LEAST_TEMPERATURE = 0.01  # above 0; vLLM takes it for anything below, without a word to the caller


def too_cold(rows: Iterable[tuple[str, float | None]]) -> list[str]:
    """What is wrong with temperatures that vLLM would replace by another: (key, value)."""
    return [
        f"{key}={value:g}: vLLM would sample at {LEAST_TEMPERATURE:g} instead, the least that it takes above 0; use "
        "that, or more"
        for key, value in rows
        if value is not None and 0 < value < LEAST_TEMPERATURE
    ]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to sample; the seed is per request."""

    temperature: float
    top_p: float
    top_k: int
    max_tokens: int
    logprobs: bool = True
    ends: Ends = field(default_factory=Ends)
