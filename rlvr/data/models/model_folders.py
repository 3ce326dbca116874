"""Tell a folder that is no model apart from one that is, by the names of its files, and say how to make it one."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MOST = 10_000  # files looked at; a model's folder has some dozens
DEPTH = 3  # folders below the one given in which another framework's files are looked for
TOKENIZER = re.compile(r".*(tokenizer|vocab|merges|spiece|sentencepiece|tekken|\.tiktoken).*", re.IGNORECASE)
WEIGHTS = re.compile(r"(?!adapter_)(.*\.safetensors|pytorch_model(?!_fsdp).*\.bin)(\.index\.json)?")


@dataclass(frozen=True, slots=True)
class Listing:
    """A folder's path, the names in it, and the relative paths of the files in and below it."""

    folder: Path
    names: frozenset[str]
    files: tuple[str, ...]

    def has(self, pattern: str) -> bool:
        """Whether some file at any level has a name of this form."""
        form = re.compile(pattern)
        return any(form.fullmatch(file.rpartition("/")[2]) for file in self.files)


def why_no_model(path: Path) -> str | None:
    """What the folder or file is instead of a model in Hugging Face format, and what to do; None for a model."""
    if path.is_file() and _is_model(_listing(path.parent)):
        return f"a file; give its folder, {path.parent}"
    found = _listing(path)
    if _is_model(found):
        return None
    return next(said for explain in RECOGNISERS if (said := explain(found)) is not None)


def why_no_tokenizer(path: Path) -> str | None:
    """The same for a folder of which only the tokenizer is wanted."""
    if any(TOKENIZER.fullmatch(name) for name in _listing(path).names):
        return None
    return why_no_model(path) or NO_TOKENIZER


def is_training_checkpoint(path: str | Path) -> bool:
    """Whether a folder is a checkpoint of a training run of ours rather than a Hugging Face model."""
    folder = Path(path)
    # One of each pair may be lost.
    either = ("state.json", "manifest.json")
    parts = (folder / "deepspeed").is_dir() or (folder / "config.yaml").is_file()
    return parts and any((folder / name).is_file() for name in either)


def _is_model(found: Listing) -> bool:
    return "config.json" in found.names and any(WEIGHTS.fullmatch(name) for name in found.names)


def _listing(path: Path) -> Listing:
    if path.is_file():
        return Listing(path, frozenset(), (path.name,))
    files: list[str] = []
    top = frozenset(os.listdir(path))
    for place, folders, names in os.walk(path):
        below = Path(place).relative_to(path)
        files += [str(below / name) for name in names]
        if len(below.parts) == DEPTH or len(files) > MOST:
            folders.clear()
    return Listing(path, top, tuple(files))


def _checkpoint(found: Listing) -> str | None:
    folder = found.folder.parent if found.folder.name == "deepspeed" else found.folder
    if not is_training_checkpoint(folder):
        return None
    policy = folder.parent.parent / "policy"
    there = (
        f"give {policy}"
        if (policy / "config.json").is_file()
        else "when it has ended, give its policy folder"
    )
    return f"a checkpoint of a training run; run.resume={folder} goes on with that run; {there}"


def _checkpoints(found: Listing) -> str | None:
    steps = sorted(n for n in found.names if re.fullmatch(r"step_\d+", n))
    if not steps or not is_training_checkpoint(found.folder / steps[-1]):
        return None
    return _checkpoint(_listing(found.folder / steps[-1]))


def _run(found: Listing) -> str | None:
    if "config.yaml" not in found.names or not found.names & {"policy", "checkpoints", "metrics.jsonl"}:
        return None
    policy = found.folder / "policy"
    if (policy / "config.json").is_file():
        return f"the folder of a training run; give its policy: {policy}"
    return (
        "the folder of a training run that has exported no policy yet; finish it with run.resume=auto "
        "(and run.export=true), then give its policy folder"
    )


def _hub_cache(found: Listing) -> str | None:
    if not {"snapshots", "refs"} <= found.names:
        return None
    snapshots = sorted((found.folder / "snapshots").iterdir())
    return "an entry of the Hugging Face cache; give " + (
        str(snapshots[-1]) if snapshots else "the model's hub name instead"
    )


def _adapter(found: Listing) -> str | None:
    if "adapter_config.json" not in found.names:
        return None
    try:
        base = json.loads((found.folder / "adapter_config.json").read_text()).get("base_model_name_or_path")
    except (OSError, ValueError, AttributeError):  # a user's file; its base is only told
        base = None
    return (
        f"an adapter (PEFT, LoRA) to {base or 'another model'}, not a whole model; merge the two first: "
        'peft.AutoPeftModelForCausalLM.from_pretrained(folder).merge_and_unload().save_pretrained("merged"), with '
        "the tokenizer saved beside it"
    )


def _by_files(pattern: str, what: str) -> Callable[[Listing], str | None]:
    return lambda found: what if found.has(pattern) else None


def _nemo(found: Listing) -> str | None:
    if not (found.has(r".*\.nemo|model_weights\.ckpt") or {"context", "weights"} <= found.names):
        return None
    return (
        "a checkpoint of NeMo; export it: nemo.collections.llm.export_ckpt(path, target='hf'), or for .nemo files the "
        "convert_*_nemo_to_hf.py script of its architecture"
    )


def _models_below(found: Listing) -> str | None:
    below = sorted(p.parent for p in found.folder.glob("*/config.json") if _is_model(_listing(p.parent)))
    if not below:
        return None
    return f"a folder of {len(below)} model(s), not a model itself; give one of them, such as {below[-1]}"


def _incomplete(found: Listing) -> str | None:
    has_weights = any(WEIGHTS.fullmatch(name) for name in found.names)
    if has_weights:
        return "weights without their config.json; copy it, and the tokenizer's files, from the model they belong to"
    if "config.json" in found.names:
        return (
            "without weights in Hugging Face format (*.safetensors or pytorch_model*.bin): was it copied or downloaded "
            "to the end, and saved with save_pretrained?"
        )
    return None


def _nothing(found: Listing) -> str:
    what = "an empty folder" if not found.files else "not a model in Hugging Face format"
    return f"{what}; a model's folder has config.json, *.safetensors and its tokenizer's files"


NO_TOKENIZER = (
    "a model without a tokenizer (no tokenizer.json or tokenizer_config.json); save that of the model it was made "
    "from into it: AutoTokenizer.from_pretrained(original).save_pretrained(folder)"
)
# In this order: what is particular before what others contain as well.
RECOGNISERS: tuple[Callable[[Listing], str | None], ...] = (
    _checkpoint,
    _checkpoints,
    _run,
    _hub_cache,
    _adapter,
    _by_files(
        r"model_world_size_\d+_rank_\d+\.pt",
        "a sharded checkpoint of verl; convert it: python -m verl.model_merger merge --backend fsdp "
        "--local_dir <its actor folder> --target_dir <new folder>",
    ),
    _by_files(
        r"(bf16_)?zero_pp_rank_\d+_mp_rank_\d+.*\.pt|mp_rank_\d+_model_states\.pt",
        "a sharded checkpoint of DeepSpeed; gather it with the zero_to_fp32.py beside it (python zero_to_fp32.py "
        "<folder> <new folder>), then add the config.json and tokenizer files of the model it was trained from",
    ),
    _by_files(
        r"latest_checkpointed_iteration\.txt|model_optim_rng\.pt|distrib_optim\.pt",
        "a checkpoint of Megatron; convert it with the tools of what wrote it (Megatron-Bridge: "
        "AutoBridge.export_ckpt; Megatron-LM: tools/checkpoint/convert.py)",
    ),
    _nemo,
    _by_files(
        r".*\.distcp",
        "a sharded checkpoint of torch (FSDP, Megatron or torchtitan); join it: accelerate merge-weights <folder> "
        "<new folder>, or python -m torch.distributed.checkpoint.format_utils dcp_to_torch <folder> <file>, then "
        "load the result into the model it was trained from and save_pretrained",
    ),
    _by_files(
        r"pytorch_model_fsdp\.bin",
        "a checkpoint of FSDP in one file; load it into the model it was trained from (load_state_dict) and save "
        "that, and its tokenizer, with save_pretrained",
    ),
    _models_below,
    _by_files(
        r".*\.gguf",
        "a GGUF model for llama.cpp, mostly quantised, which cannot be trained; give the original model in Hugging "
        "Face format, or convert: AutoModelForCausalLM.from_pretrained(folder, gguf_file=<name>).save_pretrained",
    ),
    _by_files(
        r"consolidated\.\d+\.pth",
        "weights in Meta's own format; convert them: python -m "
        "transformers.models.llama.convert_llama_weights_to_hf --input_dir <folder> --output_dir <new folder>",
    ),
    _by_files(
        r"tf_model.*\.h5|flax_model.*\.msgpack|.*\.onnx|.*\.mlmodel",
        "a model for TensorFlow, Flax, ONNX or Core ML; give the PyTorch one in Hugging Face format (*.safetensors)",
    ),
    _incomplete,
    _nothing,
)
