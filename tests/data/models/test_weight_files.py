"""Models that are damaged on disk are refused before anything is started, by the name of the file."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from rlvr.config import Config, ModelConfig
from rlvr.data.models.context import check_context
from rlvr.data.models.tokenizer import BUILTIN_FOLDER, load_tokenizer
from rlvr.data.models.weight_files import check_weights
from rlvr.errors import ConfigError
from rlvr.learner.model.causal_lm import load_lm, read_config
from rlvr.runtime.actors import open_engines
from rlvr.runtime.disk.folder import RunFolder
from rlvr.runtime.planning.fit import planned

WEIGHTS = "model.safetensors"
INDEX = f"{WEIGHTS}.index.json"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A copy of the built-in model, to be damaged."""
    folder = tmp_path / "model"
    shutil.copytree(BUILTIN_FOLDER, folder, copy_function=shutil.copyfile)
    return folder


def refusal(model: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        planned(Config(recipe="test", model=ModelConfig(path=str(model))), frozenset())
    return str(caught.value)


def test_whole_weights_pass(model):
    check_weights(ModelConfig(path=str(model), base_path="builtin"))
    check_weights(ModelConfig(path="owner/on-the-hub"))


@pytest.mark.parametrize(("kept", "said"), [(0, "is empty or cut short"), (100, "before its header does")])
def test_weights_without_a_whole_header(model, kept, said):
    os.truncate(model / WEIGHTS, kept)
    assert f"{model / WEIGHTS} " in refusal(model)
    assert said in refusal(model)


def test_weights_that_are_no_safetensors(model):
    (model / WEIGHTS).write_bytes((20).to_bytes(8, "little") + b"[" * 100)
    assert "has no header of a safetensors file" in refusal(model)


def test_weights_that_are_cut_short(model):
    size = (model / WEIGHTS).stat().st_size
    os.truncate(model / WEIGHTS, size - 1000)
    assert f"has {size - 1000} bytes, and its header speaks of {size}; copy or download it again" in refusal(
        model
    )


def test_a_base_is_looked_at_as_well(model):
    os.truncate(model / WEIGHTS, 0)
    with pytest.raises(ConfigError, match=r"model\.base_path=.*is empty"):
        check_weights(ModelConfig(base_path=str(model)))


def test_a_part_of_the_weights_that_is_missing(model):
    parts = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    (model / WEIGHTS).rename(model / parts[0])
    (model / INDEX).write_text(json.dumps({"weight_map": dict(zip("ab", parts, strict=True))}))
    assert f"{parts[1]} is missing, one of 2 files that {model / INDEX} names" in refusal(model)
    (model / INDEX).write_text("{}")
    assert f"{model / INDEX} is no index of weights" in refusal(model)


def test_a_pointer_in_place_of_the_weights_is_named(model):
    (model / WEIGHTS).write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 538090408\n"
    )
    assert (
        f"{model / WEIGHTS} is a pointer of Git LFS in place of the file; fetch it: git lfs pull"
        in refusal(model)
    )
    (model / "tokenizer.json").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ConfigError, match=r"model\.path=.*tokenizer\.json is a pointer of Git LFS"):
        check_context(ModelConfig(path=str(model)))
    with pytest.raises(ConfigError, match=r"model\.base_path=.*tokenizer\.json is a pointer of Git LFS"):
        check_context(ModelConfig(base_path=str(model)))


def test_engines_are_not_started_on_damaged_weights(model, tmp_path):
    os.truncate(model / WEIGHTS, 100)
    cfg = Config(recipe="test", model=ModelConfig(path=str(model)))
    with (
        pytest.raises(ConfigError, match="before its header does"),
        open_engines(cfg, RunFolder(tmp_path, "x"), load_tokenizer("builtin")),
    ):
        pass


def test_weights_in_several_files_need_their_index(model):
    (model / WEIGHTS).rename(model / "model-00001-of-00002.safetensors")
    assert f"{model} has weights in 1 files without their index, {INDEX}" in refusal(model)


@pytest.mark.parametrize(("key", "value"), [("num_hidden_layers", None), ("hidden_size", "abc")])
def test_a_configuration_with_a_value_of_another_kind(model, key, value):
    content = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(content | {key: value}))
    with pytest.raises(ConfigError, match=rf"model\.path=.*config.json cannot be read \(.*{key}"):
        check_context(ModelConfig(path=str(model)))
    with pytest.raises(ConfigError, match=rf"policy: its configuration cannot be read \(.*{key}.*\)$"):
        read_config("policy", str(model), False)


@pytest.mark.parametrize("name", ["tokenizer.json", "config.json", "tokenizer_config.json"])
def test_an_empty_file_is_named(model, name):
    (model / name).write_text("")
    with pytest.raises(ConfigError, match=rf"{name} is empty, cut short or no JSON; copy or download it"):
        check_context(ModelConfig(path=str(model)))


def test_settings_of_generation_that_are_no_json_are_named(model):
    (model / "generation_config.json").write_text('{"eos_token_id": 1,}')
    with pytest.raises(ConfigError, match=r"^model\.path: .*generation_config\.json is no JSON \(.*copy or"):
        check_context(ModelConfig(path=str(model)))


def test_loading_weights_that_are_cut_short_names_the_folder(model):
    os.truncate(model / WEIGHTS, 1_000_000)
    with pytest.raises(ConfigError, match=r"policy=mine: its weights cannot be read \(.*cut short"):
        load_lm("policy=mine", str(model), dtype="float32", attention="sdpa", trust_remote_code=False)
