"""What a run reads before anything is started: tokenizer, prompts, evaluation sets."""

from __future__ import annotations

from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from rlvr.config import Config
from rlvr.data.context import check_context
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
        check_context(cfg.model)
        base_folder = model_folder(cfg.model.base_path or cfg.model.path)
        tokenizer = load_tokenizer(cfg.model.path, cfg.model.trust_remote_code)
        eval_sets = build_eval_sets(cfg.data, tokenizer, **room)
        stream = build_training_stream(cfg.data, tokenizer, seed=cfg.seed, eval_sets=eval_sets, **room)
    except (ValueError, OSError) as error:
        raise ConfigError(str(error)) from error
    return Inputs(base_folder, tokenizer, stream, eval_sets)
