"""What a run reads before anything is started: tokenizer, prompts, evaluation sets."""

from __future__ import annotations

from dataclasses import dataclass

from transformers import AutoConfig, PretrainedConfig, PreTrainedTokenizerBase

from rlvr.config import Config
from rlvr.data.stream import EvalSet, PromptStream, build_eval_sets, build_training_stream
from rlvr.data.tokenizer import load_tokenizer, model_folder
from rlvr.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a run reads before anything is started."""

    base_folder: str
    tokenizer: PreTrainedTokenizerBase
    stream: PromptStream
    eval_sets: tuple[EvalSet, ...]


def read_inputs(cfg: Config) -> Inputs:
    """Tokenizer, prompts and evaluation sets, each checked.

    Raises:
        ConfigError: whatever is wrong with them; nothing has been started, and the user can mend it.
    """
    room = {"context": cfg.model.max_length, "max_response_tokens": cfg.rollout.max_response_tokens}
    try:
        base_folder = model_folder(cfg.model.base_path or cfg.model.path)
        check_positions(cfg)
        tokenizer = load_tokenizer(cfg.model.path, cfg.model.trust_remote_code)
        eval_sets = build_eval_sets(cfg.data, tokenizer, **room)
        stream = build_training_stream(cfg.data, tokenizer, seed=cfg.seed, eval_sets=eval_sets, **room)
    except (ValueError, OSError) as error:
        raise ConfigError(str(error)) from error
    return Inputs(base_folder, tokenizer, stream, eval_sets)


def check_positions(cfg: Config) -> None:
    """See that policy and base have positions for the whole context.

    Raises:
        ConfigError: model.max_length is beyond them, or a configuration cannot be read.
    """
    for key in ("path", "base_path"):
        path = getattr(cfg.model, key)
        if path is None:
            continue
        try:
            config = AutoConfig.from_pretrained(
                model_folder(path), trust_remote_code=cfg.model.trust_remote_code
            )
        except (ValueError, OSError) as error:  # a user's folder, or the hub
            raise ConfigError(f"model.{key}={path}: its configuration cannot be read ({error})") from error
        positions = longest_context(config)
        if positions is not None and cfg.model.max_length > positions:
            raise ConfigError(
                f"model.max_length={cfg.model.max_length}: the model {path} has positions for {positions} tokens "
                f"only; set model.max_length={positions} or less (and rollout.max_response_tokens and "
                "data.max_prompt_tokens to what fits into it)"
            )


def longest_context(config: PretrainedConfig) -> int | None:
    """Tokens that a model's positions reach, stretched by its rope scaling; None where it has no limit."""
    text = config.get_text_config(decoder=True)  # multimodal models nest it
    positions = getattr(text, "max_position_embeddings", None)
    if not isinstance(positions, int):
        return None
    rope = getattr(text, "rope_parameters", None) or getattr(text, "rope_scaling", None) or {}
    scaled = rope.get("factor") if isinstance(rope, dict) else None
    if scaled is None:
        return positions
    original = rope.get("original_max_position_embeddings") or positions
    return max(positions, int(original * scaled))
