"""The end tokens of models; what ended a policy's responses in its run has to end them elsewhere, too."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from rlvr.types import Tokenizer

SETTINGS = "generation_config.json"
KEY = "eos_token_id"


def generation_ends(folder: str) -> set[int]:
    """The end tokens of a model's settings of generation, which engines listen to as well; none without settings.

    Raises:
        ValueError: the settings have another form.
    """
    from transformers import GenerationConfig

    try:
        ends = GenerationConfig.from_pretrained(folder).eos_token_id
    except OSError:  # many models come without them
        return set()
    return set(ends if isinstance(ends, list) else [ends]) - {None}


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
    there = settings.get(KEY)
    known = there if isinstance(there, list) else [] if there is None else [there]
    together = list(dict.fromkeys([*known, *(end for end in ends if end is not None)]))
    if together == known:
        return
    settings[KEY] = together if len(together) > 1 else together[0]
    file.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
