"""The prompts of a run, as training takes them."""

from __future__ import annotations

from rlvr.config import Config
from rlvr.data.stream import PromptStream, build_training_stream
from rlvr.types import Tokenizer


def open_stream(cfg: Config, tokenizer: Tokenizer) -> PromptStream:
    """The run's stream, with its template, lengths and seed."""
    room = {"context": cfg.model.max_length, "max_response_tokens": cfg.rollout.max_response_tokens}
    return build_training_stream(cfg.data, tokenizer, seed=cfg.seed, **room)
