"""What tells a model from another, wherever it lies."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlvr.config import ModelConfig
from rlvr.data.models.tokenizer import model_folder
from rlvr.errors import DataError

# Keys of a run -> fields of ModelConfig.
PLACES_OF_MODELS = {"model.path": "path", "model.base_path": "base_path"}
END_BYTES = 1 << 20  # of a weight file that its digest reads at both ends
BLOCKS, BLOCK_BYTES = 256, 1 << 12  # what it reads between them, evenly spread
_OF_ENDS = re.compile(r"[0-9]+-[0-9a-f]{16}")  # of a short file, and what earlier versions kept of a long one


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
    return [key for key, model in now.items() if not same_model(kept.get(key, model), model)]


def same_model(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether two results of `identity` are of one model, as far as both tell: see `as_kept`."""
    return as_kept(one, other) == one or as_kept(other, one) == other


def as_kept(kept: Any, now: Any) -> Any:
    """`now` with no more about a weight file than `kept` has at its place: earlier versions looked at its ends alone.

    Either is what `identity` gives, or holds such in mappings and lists.
    """
    if isinstance(kept, Mapping) and isinstance(now, Mapping):
        return {key: as_kept(kept.get(key), value) for key, value in now.items()}
    if isinstance(kept, list) and isinstance(now, list) and len(kept) == len(now):
        return [as_kept(*pair) for pair in zip(kept, now, strict=True)]
    texts = isinstance(kept, str) and isinstance(now, str)
    return kept if texts and _OF_ENDS.fullmatch(kept) and now.startswith(f"{kept}-") else now


def identity(path: str) -> dict[str, str]:
    """What tells a model from another: its weight files by content, wherever they lie; a hub model by its name.

    Raises:
        DataError: there is no such model.
        OSError: a weight file cannot be read.
    """
    folder = Path(model_folder(path, checkpoint=True))
    files = sorted(folder.glob("*.safetensors")) + sorted(folder.glob("*.bin"))
    files = files or sorted(folder.glob("deepspeed/mp_rank_*_model_states.pt"))
    files = files or sorted(folder.glob("deepspeed/*zero_pp_rank_*_optim_states.pt"))  # of ZeRO 3, in shards
    return {str(file.relative_to(folder)): _digest(file) for file in files} or {"hub": path}


def _digest(file: Path) -> str:
    """A file's size with a hash of its first and last MiB and one of samples between: copies stay equal.

    Training moves every weight; the samples are for who has exchanged, merged or scaled some matrices alone. None is
    missed that has a hundredth of a file's bytes.
    """
    size = file.stat().st_size
    with file.open("rb") as content:
        ends = content.read(END_BYTES)
        content.seek(max(0, size - END_BYTES))
        ends += content.read()
        digest = f"{size}-{_hash(ends)}"
        if size <= 2 * END_BYTES:
            return digest
        samples = b""
        for block in range(1, BLOCKS + 1):
            content.seek(size * block // (BLOCKS + 1))
            samples += content.read(BLOCK_BYTES)
    return f"{digest}-{_hash(samples)}"


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
