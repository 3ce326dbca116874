"""The prompts of a run, as training takes them."""

from __future__ import annotations

from rlvr.config import Config
from rlvr.data.stream import PromptStream, build_eval_sets, build_training_stream
from rlvr.types import Tokenizer


def open_stream(cfg: Config, tokenizer: Tokenizer) -> PromptStream:
    """The run's stream, with its template, lengths and seed."""
    room = {"context": cfg.model.max_length, "max_response_tokens": cfg.rollout.max_response_tokens}
    held_out = build_eval_sets(cfg.data, tokenizer, **room)
    return build_training_stream(cfg.data, tokenizer, seed=cfg.seed, eval_sets=held_out, **room)
