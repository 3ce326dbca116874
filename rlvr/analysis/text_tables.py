"""A table as it is shown to people: text cells under a caption, the same in Markdown and on a page. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

Record = TypeVar("Record")


@dataclass(frozen=True, slots=True)
class TextTable:
    """Text cells; the first column names the row."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str

    def as_markdown(self) -> list[str]:
        """The caption and the lines of the table."""
        lines = [self.header, ("---",) * len(self.header), *self.rows]
        return [
            self.caption,
            "",
            *("| " + " | ".join(c.replace("|", "\\|") for c in line) + " |" for line in lines),
        ]


def text_table(
    caption: str, rows: Iterable[Record], *columns: tuple[str, Callable[[Record], str]]
) -> TextTable:
    """A table with a row for each record; a column is its head and what it shows of a record."""
    cells = tuple(tuple(show(row) for _, show in columns) for row in rows)
    return TextTable(tuple(head for head, _ in columns), cells, caption)
