"""What a run reads before anything is started."""

from __future__ import annotations

import pytest
from transformers import LlamaConfig, Qwen2Config

from rlvr.config import Config
from rlvr.errors import ConfigError
from rlvr.inputs import longest_context, read_inputs


def test_a_context_beyond_the_models_positions_is_refused():
    cfg = Config(recipe="test")
    cfg.model.max_length, cfg.rollout.max_response_tokens = 4096, 2048
    with pytest.raises(ConfigError, match="positions for 256 tokens"):
        read_inputs(cfg)
    cfg.model.max_length, cfg.rollout.max_response_tokens = 256, 64
    read_inputs(cfg)


@pytest.mark.parametrize(
    ("config", "positions"),
    [
        (Qwen2Config(max_position_embeddings=4096), 4096),
        (
            Qwen2Config(
                max_position_embeddings=32768,
                rope_parameters={
                    "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768, "rope_theta": 1e4,
                },
            ),
            131072,
        ),
        (
            LlamaConfig(
                max_position_embeddings=131072,
                rope_parameters={
                    "rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8192,
                    "low_freq_factor": 1.0, "high_freq_factor": 4.0, "rope_theta": 5e5,
                },
            ),
            131072,
        ),
    ],
)  # fmt: skip
def test_rope_scaling_stretches_the_positions(config, positions):
    assert longest_context(config) == positions
