"""One position of a response: its random numbers, the tokens drawn with them, and what switch rules make of it.

Every random number is a pure function of (seed, problem, sample, position, stream): batches, actors and restarts draw
the same ones, and so do both models at one position, which is what makes a switch comparable with no switch.

A rule gives every position a value, and the intervening model samples where value > threshold. To add one, write its
value and add it to `RULES`. With one form for all of them, one calibration finds the threshold of any rule for any
budget. The rules named dlogp_ look at what the models are about to draw: with the log-ratio
d(y) = log p_intervening(y) - log p_primary(y), signed, of a drawn token y (arXiv 2603.22117; forward it is policy less
base, reverse the other way round).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlvr.divergence import dist_stats
from rlvr.divergence.top_p import truncate

Keys = NDArray[np.uint64]

BITS = 48  # of a uniform number: the largest one stays below 1 also after a product in float64
_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX = ((30, np.uint64(0xBF58476D1CE4E5B9)), (27, np.uint64(0x94D049BB133111EB)))
LARGEST = 1e30  # in place of infinity, where one model gives a token no mass: thresholds lie between values


class Stream(IntEnum):
    """What a random number is for; streams are independent of each other."""

    TOKEN = 1  # samples the next token, under both models
    SWITCH = 2  # decides the switch of the random and of the earliest rule


def sample_key(seed: int, problem_id: str, sample: int) -> int:
    """Return the 64-bit key of one response."""
    text = f"{seed}/{sample}/{problem_id}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def uniforms(keys: Keys, positions: NDArray[np.int64], stream: Stream) -> NDArray[np.float64]:
    """Return one number in [0, 1) for each key [n] and response position [n].

    SplitMix64 (Steele, Lea and Flood 2014) run as a counter: the finaliser applied to key + counter * step.
    """
    counters = positions.astype(np.uint64) * np.uint64(len(Stream) + 1) + np.uint64(stream)
    mixed = keys + (counters + np.uint64(1)) * _STEP
    for shift, factor in _MIX:
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * factor
    mixed ^= mixed >> np.uint64(31)
    return (mixed >> np.uint64(64 - BITS)).astype(np.float64) / float(2**BITS)


def sample_tokens(logits: Tensor, uniform: Tensor, temperature: float, top_p: float) -> Tensor:
    """Return the tokens [n] at which the cumulative distribution of each row of logits [n, V] passes `uniform`.

    The inverse-CDF method in vocabulary order, in float64; `uniform` is [n] float64 in [0, 1). Tokens without
    mass, such as those outside the nucleus `top_p`, are never drawn.
    """
    if top_p < 1.0:
        logits = truncate(logits, top_p, temperature)
    cdf = torch.softmax(logits.double() / temperature, -1).cumsum_(-1)
    return torch.searchsorted(cdf, uniform[:, None] * cdf[:, -1:], right=True)[:, 0]


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
