"""Which models are refused, and how one is loaded."""

from __future__ import annotations

import json

import pytest
from transformers import (
    AutoModelForCausalLM,
    CodeGenConfig,
    CodeGenForCausalLM,
    Cohere2Config,
    CTRLConfig,
    CTRLLMHeadModel,
    FalconH1Config,
    Gemma2Config,
    Gemma3Config,
    Gemma3TextConfig,
    GPTJConfig,
    GPTJForCausalLM,
    LlamaConfig,
    MistralConfig,
    PhiConfig,
    PhiForCausalLM,
    PhimoeConfig,
    Qwen2Config,
    RecurrentGemmaConfig,
)

from rlvr.config import ModelConfig
from rlvr.divergence.transform import OutputTransform
from rlvr.errors import ConfigError
from rlvr.learner.model.causal_lm import (
    check_supported,
    other_layers,
    output_transform,
    read_config,
)
from rlvr.learner.model.policy import load_policy
from tests.helpers.policy_cases import NO_HEAD_DIM, SMALL
from tests.helpers.records import VOCABULARY


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (FalconH1Config(lm_head_multiplier=0.1), "lm_head_multiplier"),
        (RecurrentGemmaConfig(), "logits_soft_cap"),
        (PhimoeConfig(lm_head_bias=True), "the output head of phimoe has a bias"),
        (PhiConfig(architectures=["PhiForCausalLM"]), "the output head of PhiForCausalLM has a bias"),
        (PhimoeConfig(), "phimoe draws its experts at random"),
        (Gemma2Config(**SMALL), "attn_logit_softcapping.*model.attention=eager"),
        (Gemma3Config(text_config=Gemma3TextConfig(**SMALL, attn_logit_softcapping=50.0)), "softcapping"),
    ],
)
def test_load_policy_refuses_by_name_what_it_would_get_wrong(tmp_path, config, said):
    config.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=rf"model\.path=mine.*{said}"):
        load_policy(ModelConfig(path="mine"), str(tmp_path), 1.0)


@pytest.mark.parametrize(
    ("make", "config"),
    [
        (PhiForCausalLM, PhiConfig(**NO_HEAD_DIM)),
        (CTRLLMHeadModel, CTRLConfig(vocab_size=VOCABULARY, n_embd=32, dff=48, n_layer=1, n_head=4)),
        (GPTJForCausalLM, GPTJConfig(vocab_size=VOCABULARY, n_embd=32, n_layer=1, n_head=4, rotary_dim=4)),
        (
            CodeGenForCausalLM,
            CodeGenConfig(vocab_size=VOCABULARY, n_embd=32, n_layer=1, n_head=4, rotary_dim=4),
        ),
    ],
)
def test_families_whose_head_has_a_bias_are_refused_before_they_are_loaded(make, config):
    assert make(config).get_output_embeddings().bias is not None
    config.architectures = [make.__name__]
    with pytest.raises(ConfigError, match=f"^model.path=mine: the output head of {make.__name__} has a bias"):
        check_supported("model.path=mine", config, ModelConfig())


@pytest.mark.parametrize(
    "name",
    [
        "lm_head_multiplier",
        "output_multiplier",
        "logits_mup_width_multiplier",
        "logits_soft_cap",
        "output_logit_soft_cap",
    ],
)
def test_transforms_that_are_not_known_are_refused_where_they_do_something(name):
    for value in (None, 1.0):
        config = LlamaConfig(**SMALL, **{name: value})
        check_supported("model.path=mine", config, ModelConfig())
    config = LlamaConfig(**SMALL, **{name: 0.5})
    with pytest.raises(ConfigError, match=f"^model.path=mine: its configuration sets {name}, "):
        check_supported("model.path=mine", config, ModelConfig())


def test_layers_that_mix_tokens_otherwise_are_named_in_order():
    windows = {"sliding_window": 4, "layer_types": ["sliding_attention", "full_attention"]}
    assert other_layers(Gemma2Config(**SMALL | windows)) == []
    assert other_layers(LlamaConfig(**SMALL)) == []
    config = LlamaConfig(**SMALL)
    config.layers_block_type = ["attention", "recurrent", "mamba", "attention", "conv", "linear", "gated"]
    assert other_layers(config) == ["conv", "gated", "linear", "mamba", "recurrent"]


def test_a_window_of_cohere_is_refused_where_a_sequence_may_be_longer():
    config = Cohere2Config(**NO_HEAD_DIM, sliding_window=16)
    check_supported("model.path=mine", config, ModelConfig(max_length=16))
    with pytest.raises(ConfigError, match=r"lets a token of this family see 16 tokens.*to at most 16$"):
        check_supported("model.path=mine", config, ModelConfig(max_length=17))
    for other in (
        MistralConfig(**SMALL, sliding_window=16),
        Cohere2Config(**NO_HEAD_DIM, sliding_window=None),
    ):
        check_supported("model.path=mine", other, ModelConfig(max_length=17))


def test_a_model_of_a_folders_own_code_is_taken_where_it_is_trusted(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from transformers import LlamaConfig\n\n\nclass Mine(LlamaConfig):\n    model_type = 'mine'\n"
    )
    said = {
        "model_type": "mine",
        "auto_map": {"AutoConfig": "mine.Mine", "AutoModelForCausalLM": "mine.Model"},
    }
    (tmp_path / "config.json").write_text(json.dumps(said))
    config = read_config("model.path=mine", str(tmp_path), True)
    check_supported("model.path=mine", config, ModelConfig())
    with pytest.raises(ConfigError, match=r"^model\.path=mine: its configuration cannot be read"):
        read_config("model.path=mine", str(tmp_path), False)
    del said["auto_map"]["AutoModelForCausalLM"]
    (tmp_path / "config.json").write_text(json.dumps(said))
    config = read_config("model.path=mine", str(tmp_path), True)
    with pytest.raises(ConfigError, match=r"^model\.path=mine: not a causal language model: .* type mine$"):
        check_supported("model.path=mine", config, ModelConfig())


def test_soft_capping_is_read_from_a_nested_text_configuration():
    config = Gemma3Config(text_config=Gemma3TextConfig(**SMALL, final_logit_softcapping=30.0))
    assert output_transform(config) == OutputTransform(cap=30.0)


def test_load_policy_refuses_a_head_with_a_bias(tmp_path):
    AutoModelForCausalLM.from_config(PhiConfig(**NO_HEAD_DIM)).save_pretrained(tmp_path)
    PhiConfig(**NO_HEAD_DIM).save_pretrained(tmp_path)  # which does not name its class
    with pytest.raises(ConfigError, match=r"model\.path=mine.*head has a bias"):
        load_policy(ModelConfig(path="mine"), str(tmp_path), 1.0)


def test_load_policy_names_the_key_when_nothing_can_be_loaded(tmp_path):
    Qwen2Config(**SMALL).save_pretrained(tmp_path)  # a configuration without weights
    with pytest.raises(ConfigError, match=r"model\.path=mine"):
        load_policy(ModelConfig(path="mine"), str(tmp_path), 1.0)


def test_load_policy_names_the_key_when_there_is_no_model(tmp_path):
    with pytest.raises(ConfigError, match=r"model\.path=mine"):
        load_policy(ModelConfig(path="mine"), str(tmp_path), 1.0)
