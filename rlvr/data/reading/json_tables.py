"""Objects that hold many rows: read as one row each, they would be wrong without a word. Pure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlvr.errors import DataError


def refuse_tables(file: Path, content: dict[str, Any]) -> None:
    """Refuse the one object of a file where it is a table, or several lists of rows.

    Raises:
        DataError: says how to write it.
    """
    if len(content) < 2:
        return
    if _is_table(content):
        raise DataError(
            f"data file {file} holds a table in one object ({', '.join(content)}), as pandas writes it; write it row "
            "by row: to_json(path, orient='records', lines=True)"
        )
    if all(isinstance(value, list) and _holds_rows(value) for value in content.values()):
        raise DataError(
            f"data file {file} holds several lists of rows ({', '.join(content)}); write the one that is meant into a "
            "file of its own"
        )


def _is_table(content: dict[str, Any]) -> bool:
    """Whether an object has a list or an object of as many cells for each column, or one of its cells for each row."""
    if {"columns", "data"} <= content.keys():
        return True
    values = list(content.values())
    if all(isinstance(value, dict) for value in values):
        return len({frozenset(value) for value in values}) == 1
    if not all(isinstance(value, list) and value for value in values):
        return False
    return len({len(value) for value in values}) == 1 and not any(
        isinstance(value[0], dict) for value in values
    )


def _holds_rows(values: list[Any]) -> bool:
    """Whether a list is one of rows, not of messages."""
    return bool(values) and isinstance(values[0], dict) and "role" not in values[0]
