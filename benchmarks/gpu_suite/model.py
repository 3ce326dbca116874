"""A model of the size of a real one with random weights: it runs everywhere, and never ends a response by itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Size:
    """Sizes of a Qwen2 model and of the responses that it is to write."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    cache_heads: int
    vocabulary: int
    response_tokens: int
    prompts: int
    samples: int


QWEN_1_5B = Size(1536, 8960, 28, 12, 2, 151_936, response_tokens=2048, prompts=8, samples=8)
SMALL = Size(128, 256, 2, 4, 2, 1024, response_tokens=24, prompts=4, samples=2)


def random_model(size: Size, folder: Path) -> Path:
    """Write one, with the built-in tokenizer, unless it is there."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from rlvr.data.models.tokenizer import load_tokenizer

    if (folder / "config.json").exists():
        return folder
    tokenizer = load_tokenizer("builtin")
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=size.vocabulary,
        hidden_size=size.hidden,
        intermediate_size=size.intermediate,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.cache_heads,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        pad_token_id=tokenizer.pad_token_id,
    )
    Qwen2ForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)  # type: ignore[attr-defined]
    return folder
