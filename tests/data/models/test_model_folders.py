"""Folders that are given as a model and are none: one line that says what they are and what to give instead."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as dcp

from rlvr.config import Config, ModelConfig
from rlvr.data.models.tokenizer import BUILTIN_FOLDER, load_tokenizer, model_folder
from rlvr.errors import ConfigError, DataError
from rlvr.runtime.inputs import read_inputs

TOKENIZER = ("tokenizer.json", "tokenizer_config.json")
CHECKPOINT = ("state.json", "config.yaml", "deepspeed/mp_rank_00_model_states.pt")


def made(folder: Path, *files: str) -> Path:
    """A folder with these files; what they hold does not matter."""
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    folder.mkdir(exist_ok=True)
    return folder


CASES = [
    (("state.json", "deepspeed/x.pt"), "a checkpoint of a training run", "run.resume="),
    (tuple(f"step_000020/{f}" for f in CHECKPOINT), "a checkpoint of a training run", "step_000020"),
    (("config.yaml", "metrics.jsonl", "policy/config.json"), "the folder of a training run", "/policy"),
    (("config.yaml", "metrics.jsonl", "checkpoints/x"), "exported no policy yet", "run.resume=auto"),
    (("adapter_config.json", "adapter_model.safetensors", *TOKENIZER), "an adapter", "merge_and_unload"),
    (("adapter_config.json", "adapter_model.bin", "config.json"), "an adapter", "merge_and_unload"),
    (("model_world_size_8_rank_0.pt", "huggingface/config.json"), "verl", "verl.model_merger"),
    (("actor/model_world_size_2_rank_1.pt", "actor/huggingface/config.json"), "verl", "--local_dir"),
    (("latest", "global_step20/zero_pp_rank_0_mp_rank_00_optim_states.pt"), "DeepSpeed", "zero_to_fp32"),
    (("config.json", *TOKENIZER, "global_step5/bf16_zero_pp_rank_3_mp_rank_00_optim_states.pt"), "DeepSpeed", "fp32"),
    (("latest_checkpointed_iteration.txt", "iter_0000100/mp_rank_00/model_optim_rng.pt"), "Megatron", "convert"),
    (("iter_0000100/__0_0.distcp", "latest_checkpointed_iteration.txt"), "Megatron", "export"),
    (("pytorch_model_fsdp_0/__0_0.distcp", "pytorch_model_fsdp_0/.metadata"), "FSDP", "merge-weights"),
    (("pytorch_model_fsdp.bin", "config.json", *TOKENIZER), "FSDP in one file", "save_pretrained"),
    (("llama.nemo",), "NeMo", "export_ckpt"),
    (("context/model.yaml", "weights/__0_0.distcp", "weights/.metadata"), "NeMo", "export_ckpt"),
    (("model-q4_k_m.gguf",), "GGUF", "gguf_file"),
    (("config.json", *TOKENIZER, "model.gguf"), "GGUF", "original model"),
    (("consolidated.00.pth", "params.json", "tokenizer.model"), "Meta", "convert_llama_weights_to_hf"),
    (("tf_model.h5", "config.json"), "TensorFlow", "PyTorch"),
    (("refs/main", "snapshots/abc/config.json", "blobs/x"), "Hugging Face cache", "snapshots/abc"),
    (("checkpoint-5/config.json", "checkpoint-5/model.safetensors"), "1 model(s)", "checkpoint-5"),
    (("model.safetensors", *TOKENIZER), "without their config.json", "copy it"),
    (("config.json", *TOKENIZER), "without weights", "save_pretrained"),
    ((), "an empty folder", "config.json"),
    (("notes.txt",), "not a model", "config.json"),
]  # fmt: skip


@pytest.mark.parametrize(("files", "what", "remedy"), CASES)
def test_one_line_says_what_it_is_and_what_to_do(tmp_path, files, what, remedy):
    folder = made(tmp_path / "given", *files)
    with pytest.raises(DataError) as caught:
        model_folder(str(folder))
    message = str(caught.value)
    assert what in message
    assert remedy in message
    assert str(folder) in message
    assert "\n" not in message


def test_a_model_passes_whatever_lies_beside_it(tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(BUILTIN_FOLDER, folder)
    made(folder, "global_step5/zero_pp_rank_0_mp_rank_00_optim_states.pt", "model-q4.gguf", "state.json")
    made(folder, "original/consolidated.00.pth", "onnx/model.onnx", "config.yaml", "checkpoints/x")
    assert model_folder(str(folder)) == str(folder)
    assert load_tokenizer(str(folder)).eos_token_id is not None


@pytest.mark.parametrize(
    "weights",
    ["model.safetensors", "model-00001-of-00002.safetensors", "model.fp16.safetensors", "pytorch_model.bin",
     "pytorch_model-00001-of-00002.bin", "consolidated.safetensors"],
)  # fmt: skip
def test_every_way_to_name_weights_passes(tmp_path, weights):
    assert model_folder(str(made(tmp_path, "config.json", weights)))


def test_a_checkpoint_names_its_runs_policy(tmp_path):
    run = made(tmp_path / "run", *(f"checkpoints/step_000020/{f}" for f in CHECKPOINT), "policy/config.json")
    for given in ("checkpoints/step_000020", "checkpoints", "checkpoints/step_000020/deepspeed"):
        with pytest.raises(DataError, match=f"give {run / 'policy'}"):
            model_folder(str(run / given))
    checkpoint = str(run / "checkpoints" / "step_000020")
    assert model_folder(checkpoint, checkpoint=True) == checkpoint  # analyze scores checkpoints


def test_an_adapter_names_its_base(tmp_path):
    made(tmp_path, "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "Qwen/Qwen3-8B"}))
    with pytest.raises(DataError, match="to Qwen/Qwen3-8B"):
        model_folder(str(tmp_path))
    for damaged in ("{", "[]"):
        (tmp_path / "adapter_config.json").write_text(damaged)
        with pytest.raises(DataError, match="to another model"):
            model_folder(str(tmp_path))


def test_what_torch_itself_writes_in_shards(tmp_path):
    dcp.save({"model": torch.nn.Linear(4, 4).state_dict()}, checkpoint_id=tmp_path, no_dist=True)
    with pytest.raises(DataError, match="a sharded checkpoint of torch"):
        model_folder(str(tmp_path))


@pytest.mark.parametrize(("name", "what"), [("a.gguf", "GGUF"), ("a.nemo", "NeMo"), ("a.zip", "not a model")])
def test_a_file_is_no_model(tmp_path, name, what):
    with pytest.raises(DataError, match=what):
        model_folder(str(made(tmp_path, name) / name))


def test_a_file_of_a_model_names_its_folder():
    with pytest.raises(DataError, match=f"give its folder, {BUILTIN_FOLDER}"):
        model_folder(str(BUILTIN_FOLDER / "model.safetensors"))


def test_a_model_without_a_tokenizer(tmp_path):
    made(tmp_path, "config.json", "model.safetensors", "generation_config.json")
    with pytest.raises(DataError, match=r"a model without a tokenizer.*save_pretrained"):
        load_tokenizer(str(tmp_path))


def test_a_training_run_refuses_them_before_anything_starts(tmp_path):
    adapter = made(tmp_path / "adapter", "adapter_config.json", "adapter_model.safetensors", *TOKENIZER)
    for model in (ModelConfig(path=str(adapter)), ModelConfig(base_path=str(adapter))):
        with pytest.raises(ConfigError, match="an adapter"):
            read_inputs(Config(recipe="test", model=model))
