"""Small random models: the families, the sizes and the folders that tests make of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from rlvr.data.models.tokenizer import load_tokenizer

FAMILIES = {
    "gpt2": (GPT2Config, GPT2LMHeadModel),
    "llama": (LlamaConfig, LlamaForCausalLM),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),
}
# What most tests are content with, of the families that call it so.
SHAPE = {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}


def random_model(family: str, *, seed: int = 0, **keys: Any) -> PreTrainedModel:
    """A model of this family with these keys in its configuration; the same weights for the same seed."""
    make_config, make_model = FAMILIES[family]
    torch.manual_seed(seed)
    return make_model(make_config(**({} if family == "gpt2" else SHAPE) | keys)).eval()


def save(model: PreTrainedModel, folder: Path) -> Path:
    """Write it with the built-in tokenizer beside it."""
    model.save_pretrained(folder)
    load_tokenizer("builtin").save_pretrained(folder)
    return folder


def tied_model(folder: Path, family: str, *, vocabulary: int = 512, positions: int = 256, **keys: Any) -> str:
    """A model whose head is its embedding; its folder."""
    tokenizer = load_tokenizer("builtin")
    model = random_model(
        family,
        vocab_size=vocabulary,
        hidden_size=64,
        intermediate_size=96,
        max_position_embeddings=positions,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        **keys,
    )
    # Far enough from uniform that the divergence and its weights have something to tell.
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(10.0)
    return str(save(model, folder))
