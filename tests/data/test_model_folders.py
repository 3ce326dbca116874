"""Folders that people give as a model and that are none: what they are told."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rlvr.data.model_folders import complaint
from rlvr.data.tokenizer import BUILTIN_FOLDER, model_folder
from rlvr.errors import DataError

GIVEN = {
    "our checkpoint": (["state.json", "config.yaml", "deepspeed/mp_rank_00_model_states.pt"], "<run>/policy"),
    "run folder": (["config.yaml", "metrics.jsonl", "samples/step_000001.jsonl"], "/policy"),
    "adapter": (["adapter_config.json", "adapter_model.safetensors"], "merge_and_unload"),
    "verl": (["model_world_size_8_rank_0.pt", "huggingface/config.json"], "verl.model_merger"),
    "verl, the step": (["actor/model_world_size_8_rank_0.pt"], "verl.model_merger"),
    "fsdp": (["__0_0.distcp", ".metadata"], "dcp_to_torch_save"),
    "accelerate": (["pytorch_model_fsdp_0/__0_0.distcp"], "convert"),
    "accelerate, one file": (["pytorch_model_fsdp.bin"], "merge-weights"),
    "deepspeed": (["global_step10/mp_rank_00_model_states.pt", "zero_to_fp32.py"], "zero_to_fp32.py"),
    "megatron": (
        ["latest_checkpointed_iteration.txt", "iter_0000010/mp_rank_00/model_optim_rng.pt"],
        "Megatron",
    ),
    "nemo": (["model.nemo"], "NeMo"),
    "gguf": (["model.Q4_1.gguf"], "gguf_file="),
    "no config": (["model.safetensors", "tokenizer.json"], "config.json"),
    "no weights": (["config.json", "tokenizer.json"], "weights"),
    "something else": (["notes.txt"], "config.json"),
}


@pytest.mark.parametrize("name", GIVEN)
def test_each_kind_is_named_with_its_remedy(tmp_path: Path, name: str) -> None:
    files, remedy = GIVEN[name]
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    with pytest.raises(DataError) as raised:
        model_folder(str(tmp_path))
    assert remedy in str(raised.value)
    assert str(tmp_path) in str(raised.value)
    assert "\n" not in str(raised.value)  # one line


def test_models_are_taken(tmp_path: Path) -> None:
    assert complaint(BUILTIN_FOLDER) == ""
    sharded = tmp_path / "sharded"
    shutil.copytree(BUILTIN_FOLDER, sharded)
    (sharded / "model.safetensors").rename(sharded / "model-00001-of-00002.safetensors")
    (sharded / "model.safetensors.index.json").write_text("{}")
    assert model_folder(str(sharded)) == str(sharded)
    bin_file = tmp_path / "bin"
    bin_file.mkdir()
    for name in ("config.json", "pytorch_model.bin"):
        (bin_file / name).touch()
    assert complaint(bin_file) == ""
