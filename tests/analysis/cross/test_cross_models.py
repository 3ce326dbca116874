"""The models that the cross-sampling tests use, and what is refused before any weight is read."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import (
    BertConfig,
)

from rlvr.analysis.cross.config import CrossSampleConfig, check
from rlvr.analysis.cross.inputs import read_inputs
from rlvr.cross_sample import settings_of
from rlvr.data.models.tokenizer import BUILTIN_FOLDER
from rlvr.errors import ConfigError, DataError
from tests.helpers.cross_cases import TOKENIZER, save_policy

torch.set_num_threads(1)


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """The parts of a training run that cross-sampling reads."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text(
        "recipe: test\nmodel: {path: builtin}\ndata: {eval: [{name: arithmetic_heldout, limit: 9}]}\n"
        "rollout: {max_response_tokens: 40}\n"
    )
    shutil.copytree(BUILTIN_FOLDER, run / "policy")
    return run


def refusal(error=ConfigError, **keys) -> str:
    """The message with which a configuration is refused."""

    def start() -> None:
        cfg = CrossSampleConfig(**keys)
        check(cfg)
        read_inputs(cfg)

    with pytest.raises(error) as caught:
        start()
    return str(caught.value)


def test_a_run_gives_models_data_and_lengths(run_folder: Path):
    inputs = read_inputs(CrossSampleConfig(run=str(run_folder)))
    assert inputs.models.base == str(BUILTIN_FOLDER)
    assert inputs.models.policy == str(run_folder / "policy")
    assert inputs.sets == {"arithmetic_heldout": 9}
    assert inputs.models.sampling.max_tokens == 40
    assert inputs.output == run_folder / "cross_sampling"
    assert inputs.models.sampling.stop_ids == (TOKENIZER.eos_token_id,)


def test_keys_win_over_the_run(run_folder: Path, tmp_path: Path):
    keys = {"limit": 4, "max_tokens": 7, "output": str(tmp_path / "out"), "data": ["arithmetic"]}
    inputs = read_inputs(CrossSampleConfig(run=str(run_folder), **keys))
    assert inputs.sets == {"arithmetic": 4}
    assert (inputs.models.sampling.max_tokens, inputs.output) == (7, tmp_path / "out")


@pytest.mark.slow
def test_settings_know_a_copy_from_another_model(run_folder: Path, tmp_path: Path):
    cfg = CrossSampleConfig(run=str(run_folder), base=str(save_policy(tmp_path / "policy")))
    first = settings_of(cfg, read_inputs(cfg))
    assert first["base"] != first["policy"]
    shutil.copytree(run_folder / "policy", tmp_path / "copy")
    copied = replace(cfg, policy=str(tmp_path / "copy"))
    assert settings_of(copied, read_inputs(copied)) == first
    swapped = replace(cfg, base=str(tmp_path / "copy"), policy=cfg.base)
    assert settings_of(swapped, read_inputs(swapped))["policy"] == first["base"]


def test_an_unfinished_run_has_no_policy(run_folder: Path):
    shutil.rmtree(run_folder / "policy")
    assert "run.export" in refusal(run=str(run_folder))
    assert "policy=FOLDER" in refusal(run=str(run_folder))


def test_what_is_not_named_is_listed(tmp_path: Path):
    assert refusal(base="builtin").startswith("policy, output: not named")
    assert refusal(run=str(tmp_path)).startswith(f"run={tmp_path}: no config.yaml")


def test_a_model_is_not_compared_with_itself(run_folder: Path):
    assert "they never diverge" in refusal(run=str(run_folder), policy="builtin")


def test_another_vocabulary_is_refused(run_folder: Path):
    file = run_folder / "policy" / "tokenizer.json"
    content = json.loads(file.read_text())
    vocab = content["model"]["vocab"]
    vocab["1"], vocab["2"] = vocab["2"], vocab["1"]  # as many tokens, other meanings
    file.write_text(json.dumps(content))
    message = refusal(run=str(run_folder))
    assert "do not share a vocabulary" in message
    assert "'1'" in message


def test_another_head_size_is_refused(run_folder: Path):
    file = run_folder / "policy" / "config.json"
    file.write_text(file.read_text().replace('"vocab_size": 47', '"vocab_size": 64'))
    message = refusal(run=str(run_folder))
    assert "base builtin has 47 output tokens, policy" in message
    assert "policy has 64" in message


def test_what_is_not_a_causal_model_is_refused(run_folder: Path, tmp_path: Path):
    BertConfig(architectures=["BertForMaskedLM"]).save_pretrained(tmp_path / "bert")
    (tmp_path / "bert" / "model.safetensors").touch()
    message = refusal(run=str(run_folder), policy=str(tmp_path / "bert"))
    assert message.startswith("policy=")
    assert "BertForMaskedLM is not a causal language model" in message


def test_sliding_layers_are_refused(run_folder: Path):
    file = run_folder / "policy" / "config.json"
    content = json.loads(file.read_text())
    content["layer_types"] = ["full_attention", "sliding_attention", "full_attention"]
    file.write_text(json.dumps(content))
    assert "sliding_attention" in refusal(run=str(run_folder))


@pytest.mark.slow
def test_an_empty_or_unknown_selection_is_refused(run_folder: Path, tmp_path: Path):
    (tmp_path / "one.jsonl").write_text('{"question": "1+1+1=?", "answer": "3"}\n')
    assert "at least 2" in refusal(run=str(run_folder), data=[f"own:{tmp_path / 'one.jsonl'}"])
    (tmp_path / "none.jsonl").write_text("")
    refusal(DataError, run=str(run_folder), data=[f"own:{tmp_path / 'none.jsonl'}"])
    assert "aime77" in refusal(DataError, run=str(run_folder), data=["aime77"])


def test_too_long_responses_are_refused(run_folder: Path):
    assert "256 positions of base" in refusal(run=str(run_folder), max_tokens=250)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"budgets": [0.0, 0.1]}, "budgets=0: a budget is a share"),
        ({"budgets": [1.0]}, "strictly between 0 and 1"),
        ({"budgets": []}, "nothing to run"),
        ({"budgets": [0.1, 0.1]}, "occurs twice"),
        ({"thresholds": [0.7]}, "ln 2"),
        ({"thresholds": [0.1], "rules": ["random"]}, "add js to rules"),
        ({"rules": ["luck"]}, "rules=luck: use one of js, random, entropy, earliest"),
        ({"rules": []}, "nothing to run"),
        ({"direction": "sideways"}, "forward, reverse, both"),
        ({"temperature": 0.0}, "temperature=0: must be greater than 0"),
        ({"top_p": 1.5}, "top_p=1.5: must be greater than 0 and at most 1"),
        ({"limit": 0}, "limit=0: must be at least 2"),
        ({"batch": 0, "samples": 0}, "samples=0: must be at least 1\nbatch=0"),
    ],
)
def test_bad_values_name_the_key_and_the_remedy(keys, words):
    assert words in refusal(**keys)


def test_a_value_that_is_not_finite_is_named_once():
    assert refusal(temperature=float("inf")) == "temperature=inf: must be a finite number"
