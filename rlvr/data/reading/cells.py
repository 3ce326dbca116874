"""One cell of a row: find its column, read it, and say what is wrong with it. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from rlvr.reward.example import find_column, json_like

DEEPEST = 100  # lists and records within each other; deeper ones could not be written into samples


class BadCellError(ValueError):
    """What is wrong with a cell, and its column."""

    def __init__(self, column: str, reason: str):
        super().__init__(reason)
        self.column = column


def names_column(values: Mapping[str, Any], column: str) -> bool:
    """Whether a row has a column, or what the first step of its name along dots names."""
    return column in values or column.split(".")[0] in values


def read_cell(values: Mapping[str, Any], columns: tuple[str, ...], read: Callable[[Any], Any]) -> Any:
    """What `read` makes of the first of these columns that a row has.

    Raises:
        BadCellError: the row has none of them, the reader refuses the value, or it is empty.
    """
    for column in columns:
        there, value = _look_up(values, column)
        if not there:
            continue
        try:
            text = read(value)
        except ValueError as error:  # untrusted input: the reader says what is wrong with the cell
            raise BadCellError(column, str(error)) from error
        if not text or (isinstance(text, str) and not text.strip()):
            raise BadCellError(column, "is empty")
        return text
    wanted = " or ".join(repr(column) for column in columns)
    reason = f"there is no column {wanted}; the row has {', '.join(map(str, values)) or 'none'}"
    for column in columns:
        record, *steps = column.split(".")
        if steps and record in values:
            raise BadCellError(column, f"{reason}, and {record!r} is {_described(values[record])}")
    raise BadCellError(columns[0], reason)


def columns_of(values: Mapping[Any, Any]) -> dict[str, Any]:
    """All cells of a row as JSON would have them.

    Raises:
        BadCellError: one is nested too deep.
    """
    for column, value in values.items():
        if _is_deeper(value, DEEPEST):
            raise BadCellError(str(column), f"is nested more than {DEEPEST} deep")
    return {str(column): json_like(value) for column, value in values.items()}


def _look_up(values: Mapping[str, Any], column: str) -> tuple[bool, Any]:
    """A column as `find_column` finds it, also one within a record that is written as JSON text."""
    there, value = find_column(values, column)
    record, _, rest = column.partition(".")
    text = values.get(record)
    if there or not rest or not isinstance(text, str) or not text.lstrip().startswith("{"):
        return there, value
    try:
        return find_column(json.loads(text), rest)
    except (ValueError, RecursionError):
        return False, None


def _described(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"a record with {', '.join(map(str, value)) or 'nothing'}"
    return "null" if value is None else f"{str(value)[:60]!r}, no record"


def _is_deeper(value: Any, most: int) -> bool:
    """Whether lists and records are nested deeper than this."""
    if not isinstance(value, dict | list | tuple):
        return False
    parts = value.values() if isinstance(value, dict) else value
    return most == 0 or any(_is_deeper(part, most - 1) for part in parts)
