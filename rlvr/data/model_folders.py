"""What a folder holds that was given as a model and is none, and what to do about it. Pure: looks at names only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Kind:
    """Something that people give in place of a model: how to tell it, what it is, what to do."""

    holds: Callable[[Path], bool]
    what: str
    remedy: str  # {folder} stands for the path


def _any(*patterns: str) -> Callable[[Path], bool]:
    return lambda folder: any(next(folder.glob(pattern), None) is not None for pattern in patterns)


def _without(name: str, *patterns: str) -> Callable[[Path], bool]:
    there = _any(*patterns)
    return lambda folder: there(folder) and not (folder / name).exists()


WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
is_checkpoint = _any("deepspeed/*_model_states.pt")  # of a training run, which analyses read as well
KINDS = (
    Kind(
        is_checkpoint,
        "a checkpoint of a training run, which only run.resume and rlvr.analyze read",
        "evaluate or train on the run's exported policy (<run>/policy); a run that is not finished exports it once it "
        "has been continued with run.resume=auto to its end (steps may be lowered to where it stands)",
    ),
    Kind(
        _any("adapter_config.json"),
        "an adapter (LoRA), not a whole model",
        "merge it into its base first with peft: PeftModel.from_pretrained(base, '{folder}').merge_and_unload()",
    ),
    Kind(
        _any("summary.json", "metrics.jsonl"),
        "the folder of a training run",
        "give its exported policy: {folder}/policy",
    ),
    Kind(
        _any("model_world_size_*_rank_*.pt", "actor/model_world_size_*_rank_*.pt"),
        "a sharded FSDP checkpoint of verl",
        "convert it with verl's own model merger (python -m verl.model_merger merge --backend fsdp)",
    ),
    Kind(
        _any("*.distcp", "*/*.distcp", ".metadata"),
        "a torch.distributed checkpoint (FSDP, Megatron or NeMo)",
        "convert it to Hugging Face format with the framework that wrote it (torch.distributed.checkpoint.format_utils"
        ".dcp_to_torch_save makes one file of it)",
    ),
    Kind(
        _any("pytorch_model_fsdp*", "pytorch_model_fsdp_*/*"),
        "an FSDP checkpoint of accelerate",
        "convert it with `accelerate merge-weights {folder} OUTPUT` and save it beside the model's config.json",
    ),
    Kind(
        _any(
            "mp_rank_*_model_states.pt", "zero_pp_rank_*", "global_step*/*_model_states.pt", "zero_to_fp32.py"
        ),
        "a DeepSpeed checkpoint",
        "convert it with the zero_to_fp32.py that lies in it, and save the result beside the model's config.json",
    ),
    Kind(
        _any("mp_rank_*/model_optim_rng.pt", "iter_*/mp_rank_*", "latest_checkpointed_iteration.txt"),
        "a Megatron checkpoint",
        "convert it to Hugging Face format with the converter of the framework that wrote it",
    ),
    Kind(
        _any("*.nemo", "*.nemo/*", "weights/*.distcp"),
        "a NeMo checkpoint",
        "convert it with NeMo's export to Hugging Face",
    ),
    Kind(
        _without("config.json", "*.gguf"),
        "a GGUF model",
        "load it once with transformers (from_pretrained(..., gguf_file=...)) and save it with save_pretrained",
    ),
    Kind(
        _without("config.json", *WEIGHTS),
        "weights without a config.json",
        "add the model's config.json and its tokenizer's files",
    ),
    Kind(
        lambda folder: (
            (folder / "config.json").is_file()
            and not _any(*WEIGHTS, "model.safetensors.index.json", "*.gguf")(folder)
        ),
        "a configuration without weights",
        "add the weights (model.safetensors), or give the folder that has them",
    ),
    Kind(
        lambda folder: _without("config.json", "*")(folder) and not _any("tokenizer*")(folder),
        "no model in Hugging Face format: it has no config.json",
        "give a folder with config.json, weights and tokenizer, as save_pretrained writes it",
    ),
)


def complaint(folder: Path) -> str:
    """One line on what the folder is and how to make a model of it; empty where it looks like a model."""
    for kind in KINDS:
        if kind.holds(folder):
            return f"{folder} is {kind.what}; {kind.remedy.format(folder=folder)}"
    return ""
