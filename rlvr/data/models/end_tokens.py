"""The end tokens of models; what ended a policy's responses in its run has to end them elsewhere, too."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rlvr.errors import ConfigError
from rlvr.types import Tokenizer

SETTINGS = "generation_config.json"
KEY = "eos_token_id"


def generation_ends(folder: str) -> set[int]:
    """The end tokens of a model's settings of generation, which engines listen to as well; none without settings.

    Raises:
        ConfigError: the settings are damaged.
        ValueError: the settings have another form.
    """
    from transformers import GenerationConfig

    if found := settings_problem(Path(folder) / SETTINGS):
        raise ConfigError(found)
    try:
        ends = GenerationConfig.from_pretrained(folder).eos_token_id
    except OSError:  # many models come without them
        return set()
    return set(_listed(ends)) - {None}


def settings_problem(file: Path) -> str:
    """What is wrong with a model's settings of generation; empty where nothing is, or there are none.

    Transformers and vLLM take a file that is no JSON for none, and so miss the model's own end tokens.
    """
    if not file.is_file():
        return ""
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:  # also of bytes that are no UTF-8
        return f"{file} is no JSON ({error}); copy or download it again, or mend it by hand"
    if not isinstance(settings, dict):
        return f"{file} is no JSON object; copy or download it again"
    if all(type(end) is int for end in _listed(settings.get(KEY))):
        return ""
    said = repr(settings[KEY])[:80]
    return f"{file}: its {KEY} is {said}, expected the number of a token or a list of such; mend it by hand"


def _listed(ends: Any) -> list[Any]:
    return ends if isinstance(ends, list) else [] if ends is None else [ends]


def save_tokenizer(tokenizer: Tokenizer, folder: Path, stop_token_ids: Iterable[int]) -> None:
    """Write a policy's tokenizer beside its weights, and add the end tokens of its run to the model's own.

    Raises:
        OSError: a full disk, say.
    """
    tokenizer.save_pretrained(str(folder))
    add_end_tokens(folder, [tokenizer.eos_token_id, *stop_token_ids])


def add_end_tokens(folder: Path, ends: Iterable[int | None]) -> None:
    """Add those of `ends` to a model's settings of generation that are not among its end tokens there.

    Engines also end at the tokenizer's end token and at rollout.stop_token_ids; transformers goes by that file alone,
    and a policy that has learned to end with another token would write on.

    Raises:
        OSError: a full disk, say.
    """
    file = folder / SETTINGS
    settings = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    known = _listed(settings.get(KEY))
    together = list(dict.fromkeys([*known, *(end for end in ends if end is not None)]))
    if together == known:
        return
    settings[KEY] = together if len(together) > 1 else together[0]
    file.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
