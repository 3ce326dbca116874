"""Rotary embeddings that depend on length: the same for all sequences of a run, as vLLM has them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, Gemma3TextConfig, LlamaConfig, Phi3Config

from rlvr.config import ModelConfig
from rlvr.errors import ConfigError
from rlvr.learner.model.causal_lm import check_supported
from rlvr.learner.model.policy import load_policy
from rlvr.learner.packing import micro_batch
from tests.helpers.records import VOCABULARY, random_batch

ORIGINAL, LONGEST, HALF = 8, 64, 4  # positions before and after LongRoPE; frequencies of a head
LONG_ROPE = {
    "rope_type": "longrope",
    "rope_theta": 100.0,
    "short_factor": [1.0] * HALF,
    "long_factor": [1.5, 2.0, 3.0, 5.0],
    "original_max_position_embeddings": ORIGINAL,
}
SMALL = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "max_position_embeddings": LONGEST,
}
SMALL |= {"vocab_size": VOCABULARY, "num_attention_heads": 2, "num_key_value_heads": 1}
PHI3 = Phi3Config(
    **SMALL,
    original_max_position_embeddings=ORIGINAL,
    rope_parameters=dict(LONG_ROPE),
    initializer_range=0.5,
    pad_token_id=0,
    eos_token_id=1,
    bos_token_id=1,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("phi3")
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(PHI3).save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("max_length", [ORIGINAL, LONGEST])
def test_a_log_prob_does_not_depend_on_the_length_of_what_stands_beside_it(folder, max_length):
    policy = load_policy(ModelConfig(path=folder, max_length=max_length), folder, 1.0)
    batch = random_batch([3, 3], [4, max_length - 3])
    with torch.no_grad():
        alone, beside = (policy(micro_batch(batch, np.arange(count)))[:4] for count in (1, 2))
    torch.testing.assert_close(alone, beside, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("max_length", "factors"), [(ORIGINAL, "short_factor"), (LONGEST, "long_factor")])
def test_longrope_has_the_factors_of_the_longest_sequence_allowed_as_in_vllm(folder, max_length, factors):
    """cos(p / (factor_i theta^(2 i / d))) sqrt(1 + ln s / ln o), s the ratio of positions to the o original ones."""
    rotary = load_policy(ModelConfig(path=folder, max_length=max_length), folder, 1.0).lm.model.rotary_emb
    place = torch.arange(5)
    cos, sin = rotary(torch.zeros(1, 5, 1), place[None])
    scale = math.sqrt(1 + math.log(LONGEST / ORIGINAL) / math.log(ORIGINAL))
    for i, factor in enumerate(LONG_ROPE[factors]):
        angle = place.double() / (factor * LONG_ROPE["rope_theta"] ** (i / HALF))
        torch.testing.assert_close(cos[0, :, i].double(), angle.cos() * scale, rtol=0, atol=1e-5)
        torch.testing.assert_close(sin[0, :, i].double(), angle.sin() * scale, rtol=0, atol=1e-5)


DYNAMIC = LlamaConfig(**SMALL, rope_parameters={"rope_type": "dynamic", "rope_theta": 100.0, "factor": 4.0})
BY_LAYER = Gemma3TextConfig(
    **SMALL,
    rope_parameters={
        "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
        "full_attention": dict(LONG_ROPE),
    },
)


@pytest.mark.parametrize(
    ("config", "kind", "positions"),
    [(DYNAMIC, "dynamic", LONGEST), (BY_LAYER, "longrope", ORIGINAL)],
)
def test_what_engines_scale_otherwise_is_refused_beyond_its_positions(config, kind, positions):
    check_supported("model.path=mine", config, ModelConfig(max_length=positions))
    said = rf"model\.path=mine.*of the kind {kind}.*model\.max_length to at most {positions}$"
    with pytest.raises(ConfigError, match=said):
        check_supported("model.path=mine", config, ModelConfig(max_length=positions + 1))
