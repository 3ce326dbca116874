"""Small random models of the families that people train, with the traits that real ones have and toys lack."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    CohereConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GenerationConfig,
    GraniteConfig,
    LlamaConfig,
    MistralConfig,
    MixtralConfig,
    OlmoeConfig,
    Phi3Config,
    PretrainedConfig,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
    Qwen3MoeConfig,
)

from rlvr.data.models.tokenizer import load_tokenizer

REAL_VOCABULARY = 49_152  # SmolLM2's
LONG = 4_200  # tokens; longer than vLLM's own token budget on CPU, 4096
# The turns of a conversation; the second template knows no system role, as Gemma's.
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
NO_SYSTEM = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}<start>{{ m.role }}\n{{ m.content }}<end>\n{% endfor %}<start>model\n"
)
SHAPE: Mapping[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 32,  # the least that vLLM's attention on CPU takes
    "max_position_embeddings": LONG + 200,
    "initializer_range": 0.2,  # far from uniform, so that a wrong weight shows
}
WINDOWS = {"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"]}
EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 48}


@dataclass(frozen=True)
class Family:
    """A kind of model, and what of it is awkward."""

    make_config: Callable[..., PretrainedConfig]
    keys: Mapping[str, Any]
    tokenizer: str = "builtin"
    ends: tuple[int, ...] = ()  # further end tokens, in generation_config.json only
    attention: str = "sdpa"
    prompt_tokens: tuple[int, ...] = (5, 20, 40)
    without: tuple[str, ...] = field(default=())  # of SHAPE, which this family has no key for


FAMILIES: Mapping[str, Family] = {
    # Tied head, biases in attention, more rows in the head than the tokenizer has tokens, two end tokens.
    "qwen2": Family(
        Qwen2Config, {"tie_word_embeddings": True, "vocab_size": 64}, ends=(7,), without=("head_dim",)
    ),
    # Norms of queries and keys; a chat template with a system role.
    "qwen3": Family(Qwen3Config, {"tie_word_embeddings": False}, tokenizer="chatml"),
    # Tied head over a real vocabulary, positions scaled as in Llama 3, end tokens in its configuration as well.
    "llama": Family(
        LlamaConfig,
        {
            "tie_word_embeddings": True,
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 10_000.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            },
        },
        tokenizer="chatml",
        ends=(260, 300),
    ),
    # Tied and scaled embeddings, windows shorter than the prompts, a chat template without a system role.
    "gemma3": Family(
        Gemma3TextConfig,
        {"tie_word_embeddings": True, "query_pre_attn_scalar": 32, **WINDOWS},
        tokenizer="no_system",
    ),
    # Soft caps on logits and on attention.
    "gemma2": Family(
        Gemma2Config,
        {
            "tie_word_embeddings": True,
            "query_pre_attn_scalar": 32,
            "final_logit_softcapping": 3.0,
            "attn_logit_softcapping": 2.0,
            **WINDOWS,
        },
        attention="eager",
    ),
    # A window in every layer, and a prompt beyond the token budget.
    "mistral": Family(
        MistralConfig, {"tie_word_embeddings": False, "sliding_window": 16}, prompt_tokens=(5, 40, LONG)
    ),
    # One matrix for queries, keys and values, and one for gate and up; a window; LongRoPE, beyond its short factors.
    "phi3": Family(
        Phi3Config,
        {
            "tie_word_embeddings": False,
            "sliding_window": 12,
            "original_max_position_embeddings": 4,
            "rope_parameters": {
                "rope_type": "longrope",
                "rope_theta": 10_000.0,
                "short_factor": [1.0] * 16,
                "long_factor": [1.0 + i / 8 for i in range(16)],
                "original_max_position_embeddings": 4,
            },
        },
        without=("head_dim",),
    ),
    # Scales everywhere: embeddings, residuals, attention, logits.
    "granite": Family(
        GraniteConfig,
        {
            "tie_word_embeddings": True,
            "embedding_multiplier": 3.0,
            "residual_multiplier": 0.5,
            "attention_multiplier": 0.1,
            "logits_scaling": 4.0,
        },
        without=("head_dim",),
    ),
    # Attention beside the feed-forward part, a norm without bias, scaled logits, always tied.
    "cohere": Family(CohereConfig, {"logit_scale": 0.3}, without=("head_dim",)),
    # Mixtures of experts, whose files name and split the weights otherwise than transformers' modules.
    "qwen3_moe": Family(Qwen3MoeConfig, {"tie_word_embeddings": False, "num_experts": 4, **EXPERTS}),
    "mixtral": Family(
        MixtralConfig, {"tie_word_embeddings": False, "num_local_experts": 4, "num_experts_per_tok": 2}
    ),
    "olmoe": Family(
        OlmoeConfig,
        {"tie_word_embeddings": False, "num_experts": 4, "num_experts_per_tok": 2},
        without=("head_dim",),
    ),
}


@cache
def real_sized_tokenizer(chat_template: str) -> PreTrainedTokenizerBase:
    """A BPE of 49 152 tokens: bytes, all pairs and triples of letters, and most triples after a space or before one."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pairs = [(a, b) for a, b in product(ascii_lowercase, repeat=2)]
    triples = [(a + b, c) for (a, b), c in product(pairs, ascii_lowercase)]
    after_space = [("Ġ", a + b) for a, b in triples]
    longer = [(a + b, "s") for a, b in triples]
    special = ["<s>", "</s>", "<|im_start|>", "<|im_end|>", "<start>", "<end>"]
    room = REAL_VOCABULARY - len(alphabet) - len(special)
    merges = [*pairs, *triples, *after_space, *longer][:room]
    tokens = [*alphabet, *(a + b for a, b in merges)]
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(special)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", chat_template=chat_template
    )


def small_lm(name: str, words: int = 64) -> Any:
    """A random model of a family with so many words and no tokenizer: of transformers, in training."""
    family = FAMILIES[name]
    shape = {key: value for key, value in SHAPE.items() if key not in family.without}
    keys = {**family.keys, "vocab_size": words, "pad_token_id": 0, "eos_token_id": 1}
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(
        family.make_config(**shape, **keys), attn_implementation=family.attention
    )


def tokenizer_of(family: Family) -> PreTrainedTokenizerBase:
    """Its tokenizer: the built-in model's of 32 words, or one of a real size."""
    if family.tokenizer == "builtin":
        return load_tokenizer("builtin")
    return real_sized_tokenizer({"chatml": CHATML, "no_system": NO_SYSTEM}[family.tokenizer])


def make_model(family: Family, folder: Path, seed: int = 0) -> str:
    """Write a random model of the family with its tokenizer; its folder."""
    tokenizer = tokenizer_of(family)
    shape = {key: value for key, value in SHAPE.items() if key not in family.without}
    keys = {
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        **family.keys,
    }
    config = family.make_config(**shape, **keys)
    config._attn_implementation = family.attention
    torch.manual_seed(seed)
    lm = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in lm.parameters():
            if (
                parameter.dim() == 1
            ):  # norms and biases are all alike in a new model, and could be swapped unseen
                parameter.add_(torch.randn_like(parameter) * 0.1)
    lm.save_pretrained(folder)
    ends = [tokenizer.eos_token_id, *family.ends]
    generation = GenerationConfig(eos_token_id=ends, temperature=0.6, do_sample=True)
    generation.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)
