"""The longest context of a model, against what transformers and vLLM make of the same configuration."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace
from typing import Any

import pytest
from transformers import AutoConfig, GPT2Config, LlamaConfig, MambaConfig

from rlvr.config import Config, ModelConfig
from rlvr.data.models.context import check_context, longest_context
from rlvr.errors import ConfigError
from rlvr.runtime.inputs import read_inputs


def llama(positions: int, **rope: Any) -> LlamaConfig:
    return LlamaConfig(max_position_embeddings=positions, rope_parameters={"rope_theta": 1e4, **rope})


YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 2048}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "original_max_position_embeddings": 1024,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
}
CONFIGS: list[tuple[str, Any, int | None]] = [
    ("plain", LlamaConfig(max_position_embeddings=2048), 2048),
    ("linear", llama(2048, rope_type="linear", factor=4.0), 8192),
    ("dynamic", llama(2048, rope_type="dynamic", factor=1.5), 3072),
    ("yarn", llama(8192, **YARN), 8192),
    ("llama3", llama(8192, **LLAMA3), 8192),
    ("learned", GPT2Config(n_positions=512), 512),
    ("no limit", MambaConfig(), None),
]


@pytest.mark.parametrize(("name", "config", "positions"), CONFIGS, ids=[name for name, _, _ in CONFIGS])
def test_positions_with_rope_scaling(name, config, positions):
    assert longest_context(config)[1] == positions


@pytest.mark.slow
@pytest.mark.parametrize(("name", "config", "positions"), CONFIGS, ids=[name for name, _, _ in CONFIGS])
def test_vllm_draws_the_same_line(name, config, positions):
    """vLLM's own check, on the same configuration: the last length that it takes and the first that it refuses."""
    if positions is None:
        pytest.skip("nothing to compare")
    from vllm.config.model import _get_and_verify_max_len
    from vllm.transformers_utils.model_arch_config_convertor import ModelArchConfigConvertorBase

    derived = ModelArchConfigConvertorBase(config, config).derive_max_model_len_and_key()
    arch: Any = SimpleNamespace(derived_max_model_len_and_key=derived)

    def verified(length: int) -> int:
        return _get_and_verify_max_len(config, arch, None, length, False, None)

    assert verified(positions) == positions
    with pytest.raises(ValueError, match="greater than the derived"):
        verified(positions + 1)


def test_a_longer_context_than_the_models_is_refused_before_anything_starts():
    cfg = Config(recipe="test", model=ModelConfig(max_length=4096))
    cfg.rollout.max_response_tokens = 2048
    with pytest.raises(ConfigError, match=r"model.max_length=4096: .* has 256 positions.*Lower"):
        read_inputs(cfg)
    check_context(ModelConfig(max_length=256))


def test_vllms_own_permission_counts_here_too(monkeypatch):
    monkeypatch.setenv("VLLM_ALLOW_LONG_MAX_MODEL_LEN", "1")
    check_context(ModelConfig(max_length=4096))


def test_the_built_in_model():
    assert longest_context(AutoConfig.from_pretrained("rlvr/data/base_model")) == (
        "max_position_embeddings",
        256,
    )


def test_a_model_that_transformers_does_not_know_is_refused_in_its_words(tmp_path):
    """Nothing is wrong with its config.json, so nobody is told to take another."""
    folder = shutil.copytree("rlvr/data/base_model", tmp_path / "model")
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | {"model_type": "nosuch"}))
    with pytest.raises(ConfigError, match="model type `nosuch`") as error:
        read_inputs(Config(recipe="test", model=ModelConfig(path=str(folder))))
    assert "take the one that belongs to the model" not in str(error.value)
