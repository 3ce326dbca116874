"""What an engine is asked for and what it returns, as records that travel between processes."""

from __future__ import annotations

from dataclasses import dataclass

from rlvr.types import Floats, Ints, Span


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """`n` responses to one prompt; sample i uses seed + i."""

    key: str
    prompt_ids: tuple[int, ...]
    n: int
    seed: int


@dataclass(frozen=True, slots=True)
class Generation:
    """One response as the engine produced it."""

    token_ids: Ints
    logprobs: Floats  # empty when not asked for
    truncated: bool  # came to the limit before anything ended it
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class GenerationResult:
    """All responses to one request."""

    key: str
    generations: tuple[Generation, ...]


@dataclass(frozen=True, slots=True)
class Slice:
    """What an engine did in one slice of its step loop."""

    finished: tuple[tuple[str, Generation], ...]  # by the request's key
    seconds: float  # spent generating
    running: int  # requests that are not finished
