"""Fenced blocks of a text, as Markdown has them: what stands between two lines of backticks. Pure."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass

# Behind other text on its line an opening has one word at most: "put it into ``` please" opens nothing.
_OPENING = re.compile(r"(?:[ \t]*(`{3,})([^`]*)|[^`]*(`{3,})([\w+#.-]*[ \t\r]*))")
# Models close a block behind its last line as well, and go on behind the closing: "```</answer>", "``` That is it".
_CLOSING = re.compile(r"(?:([^`]*)(`{3,})\s*|(\s*)(`{3,})(?:[ \t]*[^\w\s`].*|[ \t]+[^\s`]+[ \t]+\S.*))")
_LANGUAGE = re.compile(r"[{.\s]*([\w+#-]*)")


@dataclass(frozen=True, slots=True)
class Block:
    """A block that is closed; `language` is the first word behind its opening in lower case, empty without one."""

    language: str
    content: str


def fenced_blocks(text: str) -> list[Block]:
    """The closed blocks in reading order, whatever their language; those within another one are part of it."""
    blocks: list[Block] = []
    opened: tuple[int, str] | None = None
    lines: list[str] = []
    for line in text.split("\n"):
        if opened is None:
            opened, lines = _opening(line), []
            continue
        ticks, language = opened
        last = _before_closing(line, ticks)
        if last is None:
            lines.append(f"{line}\n")
        else:
            blocks.append(Block(language, _dedented("".join(lines) + last)))
            opened = None
    return blocks


def _opening(line: str) -> tuple[int, str] | None:
    """How many backticks open a block on this line, and its language."""
    found = _OPENING.fullmatch(line)
    if found is None:
        return None
    ticks, info = found[1] or found[3], found[2] or found[4] or ""
    language = _LANGUAGE.match(info)
    return len(ticks), language[1].lower() if language else ""


def _before_closing(line: str, ticks: int) -> str | None:
    """What of the block stands on the line that closes it; None where the line does not."""
    found = _CLOSING.fullmatch(line)
    if found is None or len(found[2] or found[4]) < ticks:
        return None
    return (found[1] or "").rstrip(" \t") if (found[1] or "").strip() else ""


def _dedented(content: str) -> str:
    """The content without the margin that a block in a list has."""
    first = next((line for line in content.split("\n") if line.strip()), "")
    return textwrap.dedent(content) if first[:1].isspace() else content
