"""What is wrong with a model, found in its configuration and its tokenizer before anything is started or fetched."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from rlvr.config import Config
from rlvr.data.models.end_tokens import generation_ends
from rlvr.data.models.tokenizer import model_folder
from rlvr.data.prompting.templates import build_template
from rlvr.data.prompting.turns import end_of_turn, holds_the_date, never_opened
from rlvr.data.prompts import chat_options_of, template_of
from rlvr.data.sources import all_sources
from rlvr.errors import ConfigError
from rlvr.types import Tokenizer

log = logging.getLogger(__name__)


def check_models(cfg: Config, tokenizer: Tokenizer) -> int:
    """Check policy and base; returns how many words the policy's head has.

    Raises:
        ConfigError: a model that cannot be trained, ids beyond its head, or a base with another vocabulary.
    """
    from rlvr.learner.model.causal_lm import check_supported, read_config  # torch
    from rlvr.learner.model.shared_prompts import share_prompts_problems
    from rlvr.learner.model.tiling import tiling_problems
    from rlvr.learner.model.ulysses import sequence_parallel_problems

    rows: dict[str, int] = {}
    for setting, path in (("model.path", cfg.model.path), ("model.base_path", cfg.model.base_path)):
        if path is None:
            continue
        key = f"{setting}={path}"
        config = read_config(key, model_folder(path), cfg.model.trust_remote_code)
        check_supported(key, config, cfg.model)
        checks = (sequence_parallel_problems, share_prompts_problems, tiling_problems)
        if problems := [problem for check in checks for problem in check(key, config, cfg)]:
            raise ConfigError("\n".join(problems))
        rows[key] = int(config.get_text_config(decoder=True).vocab_size)
    for key, count in rows.items():
        if problem := ids_beyond(tokenizer, count):
            raise ConfigError(f"{key}: {problem}")
    if len(set(rows.values())) > 1:
        said = " and ".join(f"{key} has {count}" for key, count in rows.items())
        raise ConfigError(
            f"{said} words in its output head: their distributions cannot be compared; give a base that the policy was "
            "trained from"
        )
    return next(iter(rows.values()))


def ids_beyond(tokenizer: Tokenizer, rows: int) -> str | None:
    """Why prompts may hold ids for which a model with so many rows has no embedding.

    Special tokens that neither end a text nor stand in the chat template may lie beyond: Gemma 3 has one for images.
    """
    beyond = {token: index for token, index in tokenizer.get_vocab().items() if index >= rows}
    if not beyond:
        return None
    special = set(tokenizer.all_special_tokens) | {
        str(token) for token in tokenizer.added_tokens_decoder.values() if token.special
    }
    used = {str(token) for token in (tokenizer.bos_token, tokenizer.eos_token) if token}
    template = str(tokenizer.chat_template or "")
    for token, index in sorted(beyond.items(), key=lambda item: item[1]):
        if token not in special or token in used or token in template:
            return (
                f"its tokenizer has the id {index} ({token!r}) and {len(tokenizer)} tokens in all, its head {rows} "
                "rows, so that prompts may ask for words that it does not know; give the tokenizer that belongs to "
                "the model, or extend the model (resize_token_embeddings)"
            )
    return None


def warn_of_chat_template(cfg: Config, tokenizer: Tokenizer) -> None:
    """Warn where a chat template would cost a run its responses, or its resume on another day."""
    if not any(build_template(template_of(source, cfg.data)).chat for source in all_sources(cfg.data)):
        return
    options = chat_options_of(cfg.data)
    _warn_of_unheard_end(cfg, tokenizer, options)
    if opening := never_opened(tokenizer, options):
        log.warning(
            "model.path=%s: its chat template writes %r before an answer, but not at the end of a prompt, so that "
            "every response would have to begin with it. Name a template that opens the answer where "
            "add_generation_prompt is set, by data.chat_template",
            cfg.model.path,
            opening,
        )
    if holds_the_date(tokenizer, options):
        log.warning(
            "model.path=%s: its chat template writes today's date into every prompt, so that on another day the "
            "prompts are others and the run cannot go on. Give a fixed date where the template reads one, such as "
            "data.chat_template_kwargs={date_string:'26 Jul 2024'}, or another template by data.chat_template",
            cfg.model.path,
        )


def _warn_of_unheard_end(cfg: Config, tokenizer: Tokenizer, options: Mapping[str, Any]) -> None:
    """Warn of an end of turn that ends no response: they would all be cut."""
    found = end_of_turn(tokenizer, options)
    if found is None or found[0] in "".join(cfg.rollout.stop):
        return
    ends = {tokenizer.eos_token_id, *cfg.rollout.stop_token_ids}
    with suppress(OSError, ValueError):  # settings of a form that the engines will speak of
        ends |= generation_ends(model_folder(cfg.model.path))
    token, index = found
    if index not in ends:
        log.warning(
            "model.path=%s: its chat template ends an answer with %r (%d), which ends no response here; the end tokens "
            "are %s. A model that has learned the template would write on until it is cut: set "
            "rollout.stop_token_ids=[%d], unless it was taught to end otherwise",
            cfg.model.path,
            token,
            index,
            sorted(end for end in ends if end is not None),
            index,
        )
