"""The models of an analysis, checked as far as that goes without loading their weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoConfig, PreTrainedTokenizerBase

from rlvr.analysis.config import AnalyzeConfig
from rlvr.analysis.shift.inputs import PolicyToScore, policies
from rlvr.data.model_folders import is_training_checkpoint
from rlvr.data.tokenizer import load_tokenizer, model_folder
from rlvr.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Models:
    """A base, the policies that are compared with it, and what they share."""

    base: str
    policies: tuple[PolicyToScore, ...]  # checkpoints first, the policy last
    tokenizer: PreTrainedTokenizerBase
    vocabulary: int  # rows of the output head; some models have more than their tokenizer has tokens
    device: str  # cpu or cuda

    def of(self, trajectory: str) -> str:
        """The model that writes a trajectory's responses."""
        return self.base if trajectory == "base" else self.policies[-1].path


def check_models(cfg: AnalyzeConfig) -> Models:
    """Find the models and their tokenizer.

    Raises:
        ConfigError, DataError: a model or device that is not there, or different tokenizers.
    """
    base, chosen = cfg.model.base_path or cfg.model.path, policies(cfg)
    device, vocabulary, tokenizer = _device(cfg), _vocabulary(cfg, base), _tokenizer(cfg, base)
    for policy in chosen:
        if not is_training_checkpoint(policy.path):  # it has no tokenizer but the run's own
            check_same_tokens(base, tokenizer, policy.path, _tokenizer(cfg, policy.path))
    return Models(base, tuple(chosen), tokenizer, vocabulary, device)


def check_same_tokens(base: str, base_tokenizer: Any, policy: str, policy_tokenizer: Any) -> None:
    """Refuse two tokenizers that do not give the same token the same id.

    Raises:
        ConfigError: naming a token that differs.
    """
    of_base, of_policy = base_tokenizer.get_vocab(), policy_tokenizer.get_vocab()
    if of_base == of_policy:
        return
    token = min(
        (t for t in of_base.keys() | of_policy.keys() if of_base.get(t) != of_policy.get(t)),
        key=lambda t: (of_base.get(t, of_policy.get(t, 0)), t),
    )
    raise ConfigError(
        f"base {base} ({len(of_base)} tokens) and policy {policy} ({len(of_policy)} tokens) have different "
        f"vocabularies: {token!r} is {of_base.get(token, 'unknown')} in the first and "
        f"{of_policy.get(token, 'unknown')} in the second. Give two models that share a tokenizer."
    )


def _tokenizer(cfg: AnalyzeConfig, path: str) -> PreTrainedTokenizerBase:
    try:
        return load_tokenizer(path, cfg.model.trust_remote_code)
    except (OSError, KeyError, TypeError) as error:  # whatever a user's folder holds
        raise ConfigError(f"model {path}: its tokenizer cannot be loaded ({error})") from error


def _vocabulary(cfg: AnalyzeConfig, base: str) -> int:
    try:
        config = AutoConfig.from_pretrained(model_folder(base), trust_remote_code=cfg.model.trust_remote_code)
        return int(config.get_text_config(decoder=True).vocab_size)
    except (OSError, AttributeError, KeyError) as error:  # whatever a user's folder holds
        raise ConfigError(
            f"model {base}: not a causal language model that can be loaded ({error})"
        ) from error


def _device(cfg: AnalyzeConfig) -> str:
    available = torch.cuda.is_available()
    if cfg.score.device == "cuda" and not available:
        raise ConfigError("score.device=cuda: torch finds no CUDA device here; use score.device=cpu")
    return "cuda" if available and cfg.score.device != "cpu" else "cpu"
