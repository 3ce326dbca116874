"""Small random models with traits that the built-in one lacks."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from rlvr.data.tokenizer import model_folder

FAMILIES = {"qwen2": (Qwen2Config, Qwen2ForCausalLM), "llama": (LlamaConfig, LlamaForCausalLM)}


def tied_model(folder: Path, family: str, *, vocabulary: int = 512, positions: int = 256) -> str:
    """A random model whose head is its embedding, with the built-in tokenizer; its folder."""
    make_config, make_model = FAMILIES[family]
    tokenizer = AutoTokenizer.from_pretrained(model_folder("builtin"))
    torch.manual_seed(0)
    config = make_config(
        vocab_size=vocabulary,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=positions,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = make_model(config)
    with (
        torch.no_grad()
    ):  # far enough from uniform that the divergence and its weights have something to tell
        model.get_input_embeddings().weight.mul_(10.0)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)
