"""What the learner writes of its policy when a training has ended."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaConfig, MixtralConfig

from rlvr.config import Config, ModelConfig
from rlvr.data.models.tokenizer import BUILTIN_FOLDER
from rlvr.errors import ConfigError
from rlvr.learner.model.causal_lm import in_checkpoint_format, save_lm
from rlvr.learner.model.policy import load_policy
from rlvr.learner.weights import PolicyWeights


def test_a_training_is_not_lost_to_settings_of_generation_that_transformers_reads_and_does_not_write(
    tmp_path,
):
    base = Path(shutil.copytree(BUILTIN_FOLDER, tmp_path / "base"))
    settings = {"temperature": 0.6, "top_p": 0.95, "eos_token_id": [1, 2]}  # sampled without do_sample
    (base / "generation_config.json").write_text(json.dumps(settings))
    cfg = Config(recipe="test")
    cfg.model.path = str(base)
    lm = load_policy(cfg.model, str(base), 1.0).lm
    PolicyWeights(cfg, lm).export(tmp_path / "out", writes=True)
    assert settings.items() <= json.loads((tmp_path / "out" / "generation_config.json").read_text()).items()
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert again.state_dict().keys() == lm.state_dict().keys()
    assert lm.generation_config.temperature == 0.6
    modes = {path.name: path.stat().st_mode for path in (tmp_path / "out").iterdir()}
    assert len(set(modes.values())) == 1, modes  # whoever may read the one may read the others


def small(family: str) -> Any:
    """A random model of two layers."""
    torch.manual_seed(1)
    keys = {"vocab_size": 16, "hidden_size": 16, "intermediate_size": 8, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    config = (
        MixtralConfig(**keys, **heads, num_local_experts=3)
        if family == "mixtral"
        else LlamaConfig(**keys, **heads)
    )
    return AutoModelForCausalLM.from_config(config)


@pytest.mark.parametrize("family", ["llama", "mixtral"])
def test_a_parameter_at_a_time_has_the_names_and_values_of_transformers_files(tmp_path, family):
    """Of Mixtral's the experts, which transformers holds in one tensor a layer and writes one by one."""
    lm = small(family)
    lm.save_pretrained(tmp_path)
    written = load_file(tmp_path / "model.safetensors")
    found = {}
    for name, parameter in lm.named_parameters():
        for own, tensor in in_checkpoint_format(lm, name, parameter.detach()):
            assert own not in found
            found[own] = tensor
    assert found.keys() == written.keys()
    for name, tensor in written.items():
        assert torch.equal(found[name], tensor)


def test_weights_that_are_given_are_the_ones_written(tmp_path):
    lm = small("llama")
    given = {name: tensor + 1 for name, tensor in lm.state_dict().items()}
    save_lm(lm, tmp_path, dict(given))  # transformers empties what it is given
    for name, tensor in load_file(tmp_path / "model.safetensors").items():
        assert torch.equal(tensor, given[name])


def test_what_the_system_says_of_a_file_that_cannot_be_written_is_its_error(tmp_path):
    (tmp_path / "model.safetensors").mkdir()
    with pytest.raises(OSError, match=re.escape(str(tmp_path))):
        save_lm(small("llama"), tmp_path)


def test_files_that_lack_weights_are_no_model(tmp_path):
    small("llama").save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    for name in ("lm_head.weight", "model.norm.weight"):
        del weights[name]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigError, match=r"its files lack lm_head\.weight, model\.norm\.weight$"):
        load_policy(ModelConfig(path="mine"), str(tmp_path), 1.0)
