"""Switch rules: each gives every position a value, and the intervening model samples where value > threshold.

To add a rule, write its value and add it to `RULES`. With one form for all of them, one calibration finds the
threshold of any rule for any budget.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlvr.analysis.cross.noise import Keys, Stream, uniforms
from rlvr.divergence import dist_stats


@dataclass(frozen=True, slots=True)
class Positions:
    """The next position of n responses, as the rules see it."""

    primary: Tensor  # [n, V] logits
    intervening: Tensor  # [n, V] logits
    keys: Keys  # [n] of the responses' random numbers
    index: NDArray[np.int64]  # [n] position in the response, from 0
    temperature: float
    js_top_p: float | None  # nucleus of the JS rule; None: exact over the vocabulary


@dataclass(frozen=True, slots=True)
class Rule:
    """What it gives a position, and what its threshold means to a reader."""

    value: Callable[[Positions], Tensor]  # [n] float64
    setting: Callable[[float], float]  # threshold -> the number reported
    unit: str  # of the reported number


def js_value(at: Positions) -> Tensor:
    """JS(primary, intervening) in nats at the sampling temperature (arXiv 2603.22446)."""
    name = "js" if at.js_top_p is None else "js_top_p"
    stats = dist_stats(
        at.primary,
        at.intervening,
        want=(name,),
        temperature=at.temperature,
        top_p=at.js_top_p,
        validate=False,
    )
    return getattr(stats, name).double()


def entropy_value(at: Positions) -> Tensor:
    """The entropy of the primary model, in nats."""
    stats = dist_stats(at.primary, want=("entropy_p",), temperature=at.temperature, validate=False)
    assert stats.entropy_p is not None
    return stats.entropy_p.double()


def random_value(at: Positions) -> Tensor:
    """A uniform number: above the threshold 1 - r with probability r, at every position alike."""
    return torch.from_numpy(uniforms(at.keys, at.index, Stream.SWITCH)).to(at.primary.device)


def earliest_value(at: Positions) -> Tensor:
    """-(position + u), u one uniform number for the whole response.

    Above -k at the first floor(k) positions, and at the next one with probability k - floor(k).
    """
    once = uniforms(at.keys, np.zeros_like(at.index), Stream.SWITCH)
    return torch.from_numpy(-(at.index + once)).to(at.primary.device)


RULES: dict[str, Rule] = {
    "js": Rule(js_value, lambda threshold: threshold, "nats"),
    "random": Rule(random_value, lambda threshold: 1.0 - threshold, "probability of a switch"),
    "entropy": Rule(entropy_value, lambda threshold: threshold, "nats"),
    "earliest": Rule(earliest_value, lambda threshold: -threshold, "positions"),
}
