"""The row that a verifier sees: the problem with every column of its data set. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rlvr.errors import DataError


class MissingColumnError(LookupError):
    """A verifier has asked for a column that its row does not have."""


@dataclass(frozen=True, slots=True)
class Example:
    """A row as `verify(example, response)` gets it; `example["tests"]` is the value of a column.

    `answer` is the gold answer as text, `columns` every column of the row as JSON-like values (text, numbers, booleans,
    None, lists and dictionaries of them); a dot steps into a nested record, as in `example["extra_info.index"]`.
    """

    id: str
    question: str
    answer: str
    source: str  # name of the data set
    columns: Mapping[str, Any] = field(default_factory=dict)

    def as_fields(self) -> tuple[str, str, str, str, Mapping[str, Any]]:
        """What it is made of, in order."""
        return self.id, self.question, self.answer, self.source, self.columns

    def __getitem__(self, column: str) -> Any:
        there, value = find_column(self.columns, column)
        if there:
            return value
        raise MissingColumnError(
            f"source {self.source!r}, row {self.id}: there is no column {column!r}, which the verifier reads; the row "
            f"has {', '.join(map(str, self.columns)) or 'no columns besides question and answer'}. Add the column to "
            "the data, or name the right one"
        )

    def __contains__(self, column: object) -> bool:
        return isinstance(column, str) and find_column(self.columns, column)[0]

    def get(self, column: str, default: Any = None) -> Any:
        """The value of a column, or `default` where the row has none of that name."""
        there, value = find_column(self.columns, column)
        return value if there else default


def row_error(example: Example, reason: str) -> DataError:
    """What is wrong with a row, said with its source and its id."""
    return DataError(f"source {example.source!r}, row {example.id}: {reason}")


def find_column(values: Mapping[str, Any], column: str) -> tuple[bool, Any]:
    """Look a column up: the name as it stands, else step by step along its dots."""
    if column in values:
        return True, values[column]
    value: Any = values
    for key in column.split("."):
        if not isinstance(value, Mapping) or key not in value:
            return False, None
        value = value[key]
    return True, value


def json_like(value: Any) -> Any:
    """The value of a cell with what JSON lacks turned into text, dates and decimals for example."""
    kind = type(value)
    if value is None or kind in (str, int, float, bool):
        return value
    if kind is dict:
        return {str(name): json_like(part) for name, part in value.items()}
    if kind in (list, tuple):
        return [json_like(part) for part in value]
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
