"""Values on their way in and out of a jail: JSON, with a mark for what JSON lacks.

The other side is not trusted, so nothing is read with pickle or marshal, and only plain values pass. Whatever else
a program returns stays inside and is named by a number. The standard library is all that this file needs.
"""

import base64
import json
from collections.abc import Callable
from typing import Any, cast

MARK = "$"
LARGEST = 1 << 24  # bytes of one message
_DEEPEST = 200
_LONG_BITS = (
    1 << 13
)  # from here on an integer passes in hexadecimal: decimals end at 4300 digits, and take long
_SEQUENCES = {"tuple": tuple, "set": set, "frozenset": frozenset}


class Inside:
    """A thing that stays in the jail, by its number."""

    def __init__(self, number: int) -> None:
        self.number = number


def dump(value: Any, keep: Callable[[Any], int]) -> Any:
    """The value as JSON; `keep` gives a number to what is no plain value, or raises TypeError."""
    return _dump(value, keep, 0)


def _dump(value: Any, keep: Callable[[Any], int], depth: int) -> Any:
    kind = type(value)
    if value is None or kind in (bool, str):
        return value
    if kind is int:
        return value if value.bit_length() < _LONG_BITS else {MARK: "int", "is": hex(value)}
    if kind is float:
        return value if value - value == 0 else {MARK: "float", "is": repr(value)}
    if depth < _DEEPEST:
        if kind is list:
            return [_dump(part, keep, depth + 1) for part in value]
        if kind.__name__ in _SEQUENCES and kind is _SEQUENCES[kind.__name__]:
            return {MARK: kind.__name__, "is": [_dump(part, keep, depth + 1) for part in value]}
        if kind is dict:
            pairs = [[_dump(part, keep, depth + 1) for part in pair] for pair in value.items()]
            return {MARK: "dict", "is": pairs}
        if kind is complex:
            return {
                MARK: "complex",
                "is": [_dump(part, keep, depth + 1) for part in (value.real, value.imag)],
            }
        if kind is bytes:
            return {MARK: "bytes", "is": base64.b64encode(value).decode()}
    number = _of_numpy(value)
    return {MARK: "inside", "is": keep(value)} if number is None else _dump(number, keep, depth)


def _of_numpy(value: Any) -> Any:
    """A number of numpy as one of Python; None for anything else."""
    if not any((kind.__module__, kind.__name__) == ("numpy", "generic") for kind in type(value).__mro__):
        return None
    number = value.item()
    return number if type(number) in (bool, int, float, complex, str, bytes) else None


def load(content: Any, inside: Callable[[int], Any]) -> Any:
    """The value that `dump` has written; `inside` says what a number stands for.

    Raises:
        ValueError: it is nothing that `dump` writes.
    """
    if isinstance(content, list):
        return [load(part, inside) for part in content]
    if not isinstance(content, dict):
        return content
    kind, value = content.get(MARK), cast(Any, content.get("is"))
    try:
        if kind in _SEQUENCES:
            return _SEQUENCES[kind](load(part, inside) for part in value)
        if kind == "dict":
            return {load(name, inside): load(part, inside) for name, part in value}
        if kind == "float":
            return float(value)
        if kind == "int":
            return int(value, 16)
        if kind == "complex":
            return complex(*(load(part, inside) for part in value))
        if kind == "bytes":
            return base64.b64decode(value)
        if kind == "inside" and type(value) is int:
            return inside(value)
    except (TypeError, RecursionError) as error:
        raise ValueError(f"no value: {str(content)[:100]}") from error
    raise ValueError(f"no value: {str(content)[:100]}")


def to_line(message: Any) -> bytes:
    """A message as one line.

    Raises:
        ValueError: it is longer than a message may be, or cannot be written.
    """
    line = json.dumps(message).encode() + b"\n"
    if len(line) > LARGEST:
        raise ValueError(f"{len(line)} bytes are more than a message may have ({LARGEST})")
    return line
