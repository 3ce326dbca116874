"""A table as it is shown to people: text cells under a caption, the same in Markdown and on a page. Pure."""

from __future__ import annotations

from dataclasses import dataclass


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
