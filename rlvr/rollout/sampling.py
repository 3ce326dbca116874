"""How responses are sampled."""

from __future__ import annotations

from dataclasses import dataclass, field

from rlvr.rollout.stop import Ends


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to sample; the seed is per request."""

    temperature: float
    top_p: float
    top_k: int
    max_tokens: int
    logprobs: bool = True
    ends: Ends = field(default_factory=Ends)
