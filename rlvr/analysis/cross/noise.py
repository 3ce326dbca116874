"""Random numbers that belong to a place in the experiment, not to the order in which it is computed.

Every number is a pure function of (seed, problem, sample, position, stream): batches, actors and restarts draw
the same ones, and so do both models at one position, which is what makes a switch comparable with no switch.
"""

from __future__ import annotations

import hashlib
from enum import IntEnum

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlvr.divergence.top_p import truncate

Keys = NDArray[np.uint64]

BITS = 48  # of a uniform number: the largest one stays below 1 also after a product in float64
_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX = ((30, np.uint64(0xBF58476D1CE4E5B9)), (27, np.uint64(0x94D049BB133111EB)))


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
