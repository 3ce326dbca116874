"""Causal language models in Hugging Face format: the one place where their configuration and weights are read."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig

from rlvr.errors import ConfigError


def read_config(key: str, folder: str, trust_remote_code: bool) -> PretrainedConfig:
    """The configuration of a model; `key` is the setting that named it, such as `model.path=mine`.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)
    except (ValueError, OSError, KeyError) as error:  # whatever a user's folder holds
        raise ConfigError(f"{key}: its configuration cannot be read ({error})") from error


def load_lm(key: str, folder: str, *, dtype: str, attention: str, trust_remote_code: bool) -> Any:
    """A transformers model with all its weights; `key` is the setting that named it.

    Raises:
        ConfigError: it is not a causal language model, weights are missing, or its attention is not installed.
    """
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=getattr(torch, dtype),
            attn_implementation=attention,
            trust_remote_code=trust_remote_code,
            output_loading_info=True,
        )
    except (ValueError, ImportError, OSError, KeyError) as error:  # whatever a user's folder holds
        raise ConfigError(
            f"{key}: not a causal language model that can be loaded with {attention} attention ({error})"
        ) from error
    lm, report = loaded
    if missing := sorted(report["missing_keys"]):
        raise ConfigError(f"{key}: not a causal language model: its files lack {', '.join(missing[:3])}")
    return lm
