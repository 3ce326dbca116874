"""Values written as overrides that Hydra reads back unchanged."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

PLAIN = re.compile(r"[A-Za-z_]\w*", re.ASCII)
RESERVED = ("null", "true", "false", "nan", "inf")  # words that stand for other values


def override(key: str, value: Any) -> str:
    """`key=value` in Hydra's grammar; the value is what YAML holds: null, a number, text, a list or a dictionary."""
    mark = "++" if isinstance(value, Mapping) else ""  # its keys may be new
    return f"{mark}{key}={_written(value)}"


def quoted(text: str) -> str:
    """A string in Hydra's grammar."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _written(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value if PLAIN.fullmatch(value) and value.lower() not in RESERVED else quoted(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{name}:{_written(part)}" for name, part in value.items()) + "}"
    if isinstance(value, Sequence):
        return "[" + ",".join(map(_written, value)) + "]"
    return repr(value)
