"""What tells a model from another, wherever it lies."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlvr.config import ModelConfig
from rlvr.data.models.tokenizer import model_folder
from rlvr.errors import DataError

# Keys of a run -> fields of ModelConfig.
PLACES_OF_MODELS = {"model.path": "path", "model.base_path": "base_path"}
END_BYTES = 1 << 20  # of a weight file that its digest reads at both ends


def known_model(kept: Mapping[str, Any], key: str, path: str | None) -> dict[str, str] | None:
    """The `identity` of the model that a run names by `key`: what the run has kept of it, else of what lies there now.

    None where neither is known, and for a key that names no model.
    """
    if key not in PLACES_OF_MODELS or path is None:
        return None
    try:
        return kept.get(key) or identity(path)
    except (OSError, DataError):  # it has gone elsewhere
        return None


def identities(cfg: ModelConfig) -> dict[str, dict[str, str]]:
    """The keys that name the models of a run, each with the `identity` of its model; raises as that does."""
    named = {key: getattr(cfg, name) for key, name in PLACES_OF_MODELS.items()}
    return {key: identity(path) for key, path in named.items() if path is not None}


def changed_models(kept: Mapping[str, Mapping[str, str]], now: Mapping[str, Mapping[str, str]]) -> list[str]:
    """The keys of `identities` whose model is another one now than was kept; one of which nothing was kept is none."""
    return [key for key, model in now.items() if kept.get(key, model) != model]


def identity(path: str) -> dict[str, str]:
    """What tells a model from another: its weight files by content, wherever they lie; a hub model by its name.

    Raises:
        DataError: there is no such model.
        OSError: a weight file cannot be read.
    """
    folder = Path(model_folder(path, checkpoint=True))
    files = sorted(folder.glob("*.safetensors")) + sorted(folder.glob("*.bin"))
    files = files or sorted(folder.glob("deepspeed/mp_rank_*_model_states.pt"))
    return {str(file.relative_to(folder)): _digest(file) for file in files} or {"hub": path}


def _digest(file: Path) -> str:
    """A file's size with a hash of its first and last MiB: training moves every weight, and copies stay equal."""
    size = file.stat().st_size
    with file.open("rb") as content:
        ends = content.read(END_BYTES)
        content.seek(max(0, size - END_BYTES))
        ends += content.read()
    return f"{size}-{hashlib.sha256(ends).hexdigest()[:16]}"
