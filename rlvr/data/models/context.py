"""Whether a model has as many positions as a run wants of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from rlvr.config import ModelConfig
from rlvr.data.models.end_tokens import SETTINGS, settings_problem
from rlvr.data.models.tokenizer import is_local, model_folder
from rlvr.data.reading.wrong_files import what_instead
from rlvr.errors import ConfigError

# Where configurations name the longest sequence; the smallest counts, as in vLLM.
KEYS = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "seq_length",
    "max_sequence_length",
    "max_seq_length",
    "seq_len",
)
# Scalings of rotary embeddings that max_position_embeddings contains already.
INCLUDED = ("su", "longrope", "llama3", "yarn", "deepseek_yarn", "deepseek_llama_scaling")

TEXTS = ("config.json", SETTINGS, "tokenizer_config.json", "tokenizer.json")


def check_context(model: ModelConfig) -> None:
    """Refuse a context longer than the model's; VLLM_ALLOW_LONG_MAX_MODEL_LEN=1 lets it pass, as in vLLM.

    Raises:
        ConfigError: names the number of positions and where the model says so, or a file that cannot be read.
    """
    from transformers import AutoConfig

    folder = model_folder(model.path)
    for key, path in (("model.path", model.path), ("model.base_path", model.base_path)):
        if path is not None and is_local(path):
            own = Path(model_folder(path))
            _refuse_cut_files(f"{key}={path}", own)
            if found := settings_problem(own / SETTINGS):
                raise ConfigError(f"{key}: {found}")
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=model.trust_remote_code)
    except (ValueError, OSError, ImportError):  # whoever loads the model refuses it with the reason
        return
    except Exception as error:  # whatever a config.json holds; loading the tokenizer would end in a traceback
        raise ConfigError(
            f"model.path={model.path}: its config.json cannot be read ({' '.join(str(error).split())}); take the one "
            "that belongs to the model"
        ) from error
    if os.environ.get("VLLM_ALLOW_LONG_MAX_MODEL_LEN", "0") not in ("0", ""):
        return
    key, positions = longest_context(config)
    if positions is not None and model.max_length > positions:
        raise ConfigError(
            f"model.max_length={model.max_length}: the model {model.path} has {positions} positions ({key} in its "
            "config.json, rope scaling included). Lower model.max_length, and with it "
            "rollout.max_response_tokens and data.max_prompt_tokens."
        )


def _refuse_cut_files(key: str, folder: Path) -> None:
    """Transformers names no file where one is empty or cut short."""
    for name in TEXTS:
        file = folder / name
        if file.is_file() and not _is_whole(file):
            instead = what_instead(file)
            raise ConfigError(
                f"{key}: {file} is " + (instead or "empty, cut short or no JSON; copy or download it again")
            )


def _is_whole(file: Path) -> bool:
    text = file.read_bytes().strip()
    return text.startswith(b"{") and text.endswith(b"}")


def longest_context(config: Any) -> tuple[str, int | None]:
    """The key that says how many positions a model has, and how many; None where nothing limits them."""
    text = config.get_text_config(decoder=True)
    named = {key: value for key in KEYS if isinstance(value := getattr(text, key, None), int)}
    if not named:
        return "", None
    key = min(named, key=lambda name: named[name])
    positions = named[key] if "gemma3" in text.model_type else round(named[key] * _rope_factor(text))
    return key, max(positions, getattr(text, "model_max_length", None) or 0)


def _rope_factor(text: Any) -> float:
    rope = getattr(text, "rope_parameters", None) or {}
    each = [part for part in rope.values() if isinstance(part, dict)] or [rope]  # one a layer type, or one
    factors = [r.get("factor") for r in each if r.get("rope_type", "default") not in INCLUDED]
    return max([1.0, *(float(f) for f in factors if f)])
