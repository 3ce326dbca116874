"""Texts in which somebody meant a new line and typed a backslash and an n, which stay what they are."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rlvr.config import Config
from rlvr.validate.sources import keyed_sources

# LaTeX begins commands with the same two characters.
TYPED = re.compile(r"\\n(?!abla|e\b|eq|eg|u\b|ot|mid|ewline|ewcommand|i\b|exists|leq|geq|ormalsize)")


def backslash_notes(cfg: Config) -> list[str]:
    """What to say of each such text; nothing is changed, since it may be meant."""
    return [
        f"{key} holds a backslash and an n, not a new line; where a new line is meant, "
        rf"""write $'{key}="...\n..."' in bash"""
        for key, text in _texts(cfg)
        if isinstance(text, str) and TYPED.search(text)
    ]


def _texts(cfg: Config) -> Iterator[tuple[str, object]]:
    yield "data.template", cfg.data.template
    yield "data.system", cfg.data.system
    for key, source in keyed_sources(cfg.data):
        yield f"{key}.template", source.template
        yield f"{key}.system", source.system
    for stop in cfg.rollout.stop:
        yield "rollout.stop", stop
