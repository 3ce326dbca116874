"""Switch rules: each gives every position a value, and the intervening model samples where value > threshold.

To add a rule, write its value and add it to `RULES`. With one form for all of them, one calibration finds the
threshold of any rule for any budget. The rules named dlogp_ look at what the models are about to draw: with the
log-ratio d(y) = log p_intervening(y) - log p_primary(y), signed, of a drawn token y (arXiv 2603.22117; forward it is
policy less base, reverse the other way round).
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

LARGEST = 1e30  # in place of infinity, where one model gives a token no mass: thresholds lie between values


@dataclass(frozen=True, slots=True)
class Positions:
    """The next position of n responses, as the rules see it."""

    primary: Tensor  # [n, V] logits
    intervening: Tensor  # [n, V] logits
    keys: Keys  # [n] of the responses' random numbers
    index: NDArray[np.int64]  # [n] position in the response, from 0
    temperature: float
    js_top_p: float | None  # nucleus of the JS rule; None: exact over the vocabulary
    own: Tensor  # [n] the token that the primary draws
    other: Tensor  # [n] the token that the intervening model draws, with the same random number


@dataclass(frozen=True, slots=True)
class Rule:
    """What it gives a position, and what its threshold means to a reader."""

    value: Callable[[Positions], Tensor]  # [n] float64
    setting: Callable[[float], float]  # threshold -> the number reported
    unit: str  # of the reported number
    label: str  # in a figure; {primary} and {intervening} are the models


def _statistics(at: Positions, *want: str, tokens: Tensor | None = None) -> list[Tensor]:
    """Statistics [n] of primary (p) and intervening model (q), at the sampling temperature, in float64."""
    found = dist_stats(
        at.primary,
        at.intervening,
        tokens,
        want=want,
        temperature=at.temperature,
        top_p=at.js_top_p,
        validate=False,
    )
    return [getattr(found, name).double() for name in want]


def _statistic(name: str) -> Callable[[Positions], Tensor]:
    """The value of a rule that looks at one statistic, exact over the vocabulary."""
    return lambda at: _statistics(at, name)[0].clamp(max=LARGEST)


def log_ratio(at: Positions, tokens: Tensor) -> Tensor:
    """d of the tokens [n], in nats at the sampling temperature."""
    primary, intervening = _statistics(at, "logp_p", "logp_q", tokens=tokens)
    return (intervening - primary).clamp(-LARGEST, LARGEST)


def random_value(at: Positions) -> Tensor:
    """A uniform number: above the threshold 1 - r with probability r, at every position alike."""
    return torch.from_numpy(uniforms(at.keys, at.index, Stream.SWITCH)).to(at.primary.device)


def earliest_value(at: Positions) -> Tensor:
    """-(position + u), u one uniform number for the whole response.

    Above -k at the first floor(k) positions, and at the next one with probability k - floor(k).
    """
    once = uniforms(at.keys, np.zeros_like(at.index), Stream.SWITCH)
    return torch.from_numpy(-(at.index + once)).to(at.primary.device)


def _nats(value: Callable[[Positions], Tensor], label: str) -> Rule:
    return Rule(value, lambda threshold: threshold, "nats", label)


RULES: dict[str, Rule] = {
    # arXiv 2603.22446
    "js": _nats(lambda at: _statistics(at, "js" if at.js_top_p is None else "js_top_p")[0], "JS"),
    "random": Rule(random_value, lambda threshold: 1.0 - threshold, "probability of a switch", "random"),
    "entropy": _nats(_statistic("entropy_p"), "entropy, {primary}"),
    "earliest": Rule(earliest_value, lambda threshold: -threshold, "positions", "earliest"),
    "entropy_other": _nats(_statistic("entropy_q"), "entropy, {intervening}"),
    "kl": _nats(_statistic("kl_pq"), "KL({primary}, {intervening})"),
    "kl_other": _nats(_statistic("kl_qp"), "KL({intervening}, {primary})"),
    # The primary's token: where the intervening model finds it less likely, more likely (the sign's control), either.
    "dlogp_lowered": _nats(lambda at: -log_ratio(at, at.own), "token lowered"),
    "dlogp_raised": _nats(lambda at: log_ratio(at, at.own), "token raised"),
    "dlogp_changed": _nats(lambda at: log_ratio(at, at.own).abs(), "token changed"),
    # The intervening model's token: where that model finds its own token more likely than the primary does.
    "dlogp_favoured": _nats(lambda at: log_ratio(at, at.other), "token favoured"),
}
WITHOUT_MODELS = ("random", "earliest")  # their values say nothing of the models
