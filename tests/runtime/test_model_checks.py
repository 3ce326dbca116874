"""Models that cannot be trained are refused by name before anything is started."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import Cohere2Config, Gemma2Config, LlamaConfig, PhiConfig, PretrainedConfig, T5Config

from rlvr.config import Config
from rlvr.data.tokenizer import load_tokenizer
from rlvr.errors import ConfigError
from rlvr.runtime.inputs import read_inputs
from rlvr.runtime.model_checks import ids_beyond
from tests.helpers.tokenizers_made_here import byte_tokenizer

ROWS = 512


def folder_of(config: PretrainedConfig, folder: Path) -> str:
    """A model without its weights, which nobody has asked for yet."""
    config.save_pretrained(folder)
    load_tokenizer("builtin").save_pretrained(folder)
    (folder / "model.safetensors").touch()
    return str(folder)


def run_with(policy: str, base: str | None = None) -> Config:
    cfg = Config(recipe="test")
    cfg.model.path, cfg.model.base_path = policy, base
    return cfg


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (T5Config(vocab_size=ROWS), "not a causal language model: transformers has none of type t5"),
        (PhiConfig(vocab_size=ROWS, architectures=["PhiForCausalLM"]), "head of PhiForCausalLM has a bias"),
        (Gemma2Config(vocab_size=ROWS), "attn_logit_softcapping"),
        (Cohere2Config(vocab_size=ROWS, sliding_window=64), "vLLM one more.*model.max_length to at most 64"),
        (
            LlamaConfig(vocab_size=ROWS, quantization_config={"quant_method": "gptq", "bits": 4}),
            r"quantised \(gptq\)",
        ),
        (LlamaConfig(vocab_size=8), "its tokenizer has the id 8 .* its head 8 rows"),
    ],
)
def test_a_model_that_cannot_be_trained_is_refused_by_name(tmp_path, config, said):
    folder = folder_of(config, tmp_path / "model")
    with pytest.raises(ConfigError, match=f"model.path={folder}: .*{said}"):
        read_inputs(run_with(folder))
    good = folder_of(LlamaConfig(vocab_size=ROWS), tmp_path / "good")
    with pytest.raises(ConfigError, match=f"model.base_path={folder}: .*{said}"):
        read_inputs(run_with(good, folder))


def test_a_base_with_another_head_is_refused(tmp_path):
    policy = folder_of(LlamaConfig(vocab_size=ROWS), tmp_path / "policy")
    base = folder_of(LlamaConfig(vocab_size=ROWS + 64), tmp_path / "base")
    with pytest.raises(ConfigError, match=f"{policy} has 512 and .*{base} has 576 words"):
        read_inputs(run_with(policy, base))
    read_inputs(run_with(policy, policy))


def test_special_tokens_that_no_prompt_holds_may_lie_beyond_the_head():
    tokenizer = byte_tokenizer(special=("<image>",))
    rows = tokenizer.convert_tokens_to_ids("<image>")
    assert ids_beyond(tokenizer, rows) is None
    tokenizer.chat_template = "<image>{{ messages }}"
    assert "<image>" in ids_beyond(tokenizer, rows)
    tokenizer.chat_template = None
    tokenizer.add_tokens(["word"])
    assert "'word'" in ids_beyond(tokenizer, rows)
    assert "'</s>'" in ids_beyond(byte_tokenizer(), 257)
