"""Rotary embeddings that depend on a sequence's length: here, as in vLLM, on the longest that a run allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from rlvr.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

# What transformers computes anew from the longest position of each batch.
DYNAMIC, LONG_ROPE = "dynamic", "longrope"
LONG_FACTORS = "longrope, its long factors"


def check_rotary(key: str, config: PretrainedConfig, max_length: int) -> None:
    """Refuse rotary embeddings under which learner and engines would differ; `key` is the setting that named the model.

    Raises:
        ConfigError: for sequences of `max_length` they are scaled in a way that transformers and vLLM do not share.
    """
    text = config.get_text_config(decoder=True)
    rotary = getattr(text, "rope_parameters", None) or {}
    layered = [part for part in rotary.values() if isinstance(part, dict)]
    for part in layered or [rotary]:
        kind, positions = part.get("rope_type"), None
        if kind == DYNAMIC:
            positions = text.max_position_embeddings
        elif kind == LONG_ROPE and layered:
            positions = part["original_max_position_embeddings"]
        if positions is not None and max_length > positions:
            raise ConfigError(
                f"{key}: its rotary embeddings are of the kind {kind}, which beyond {positions} positions transformers "
                f"and vLLM scale differently; set model.max_length to at most {positions}"
            )


def settle_rotary(lm: nn.Module, max_length: int) -> None:
    """Have LongRoPE (arXiv 2402.13753) use its long factors for every sequence where `max_length` asks for them.

    vLLM does so. transformers chooses by the longest sequence of each batch, so that a log-prob would depend on what
    stands beside its sequence, and be another than the engine's.
    """
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    for found in lm.modules():
        module: Any = found
        if getattr(module, "rope_type", None) != LONG_ROPE:
            continue
        if max_length <= module.config.rope_parameters["original_max_position_embeddings"]:
            continue
        table, factors = module.inv_freq, ROPE_INIT_FUNCTIONS[LONG_ROPE]
        long, module.attention_scaling = factors(module.config, table.device, seq_len=max_length)
        module.inv_freq = long.to(table)
        module.rope_type = LONG_FACTORS  # what transformers does not know it leaves as it is
