"""Weight files looked over by their headers and sizes, before somebody waits for them to be loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlvr.config import ModelConfig
from rlvr.data.models.tokenizer import model_folder
from rlvr.data.reading.wrong_files import what_instead
from rlvr.errors import ConfigError

LENGTH_BYTES = 8  # of a safetensors file, which say how long its header is
INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
WHOLE, PART = "model.safetensors", "model-*-of-*.safetensors"
AGAIN = "copy or download it again"


def check_weights(model: ModelConfig) -> None:
    """Refuse policy and base whose weight files are damaged or missing; those on the hub are not looked at.

    Raises:
        ConfigError: names the file and what is wrong with it.
    """
    for setting, path in (("model.path", model.path), ("model.base_path", model.base_path)):
        if path is not None:
            check_weights_of(setting, path)


def check_weights_of(setting: str, path: str) -> None:
    """The same of one model, which that setting names."""
    folder = Path(model_folder(path))
    if folder.is_dir() and (problem := folder_problem(folder)):
        raise ConfigError(f"{setting}={path}: {problem}")


def folder_problem(folder: Path) -> str:
    """What is wrong with the weight files of a folder, and what to do; empty if nothing is."""
    for file in weight_files(folder):
        if problem := weight_problem(file):
            return f"{file} {problem}; {AGAIN}"
    problem = index_problem(folder)
    return f"{problem}; {AGAIN}" if problem else ""


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model; others are further copies in another form."""
    return sorted(folder.glob("model*.safetensors"))


def read_header(file: Path) -> Mapping[str, Any]:
    """{name of a tensor: its type, shape and place}; raises ValueError, in words, for a damaged one."""
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(LENGTH_BYTES), "little")
        if LENGTH_BYTES + length > file.stat().st_size or length == 0:
            raise ValueError("is empty or cut short: it ends before its header does")
        try:
            header = json.loads(opened.read(length))
            tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
            end = max((entry["data_offsets"][1] for entry in tensors.values()), default=0)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            raise ValueError("has no header of a safetensors file") from error
    needed = LENGTH_BYTES + length + end
    if needed != file.stat().st_size:
        raise ValueError(f"has {file.stat().st_size} bytes, and its header speaks of {needed}")
    return tensors


def weight_problem(file: Path) -> str:
    """What is wrong with a safetensors file; empty if its header and its size agree."""
    try:
        if (instead := what_instead(file)) is not None:
            return f"is {instead}"
        read_header(file)
    except (ValueError, OSError) as error:
        return str(error)
    return ""


def index_problem(folder: Path) -> str:
    """What is wrong with the index of weights in several files; empty without one, or if all of them are there."""
    for name in INDEXES:
        file = folder / name
        if not file.is_file():
            continue
        try:
            named = set(json.loads(file.read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            return f"{file} is no index of weights ({error})"
        if missing := sorted(part for part in named if not (folder / str(part)).is_file()):
            return f"{missing[0]} is missing, one of {len(named)} files that {file} names"
        return ""
    if not (folder / WHOLE).is_file() and (parts := list(folder.glob(PART))):
        return f"{folder} has weights in {len(parts)} files without their index, {INDEXES[0]}"
    return ""
