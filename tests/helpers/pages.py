"""The pages that people read, and what stands in them."""

from __future__ import annotations

import re
from pathlib import Path

from tests.helpers.paths import REPOSITORY

DOCS = REPOSITORY / "docs"
PAGES = (
    REPOSITORY / "README.md",
    REPOSITORY / "CONTRIBUTING.md",
    REPOSITORY / "docker" / "README.md",
    REPOSITORY / "examples" / "README.md",
    *sorted(DOCS.glob("*.md")),
)


def name_of(page: Path) -> str:
    """A page's path in the repository."""
    return str(page.relative_to(REPOSITORY))


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page in one language."""
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), flags=re.DOTALL)


def commands(beginning: str, *pages: Path) -> list[str]:
    """The lines of bash blocks that begin so, without their comments; the same line once."""
    lines = [line for page in pages for block in blocks(page, "bash") for line in block.splitlines()]
    return list(
        dict.fromkeys(line.partition(" #")[0].strip() for line in lines if line.startswith(beginning))
    )


def code_of(page: Path) -> list[str]:
    """What a page shows as code: its inline code, and the lines of its blocks."""
    text = page.read_text()
    fenced = re.findall(r"```\w*\n(.*?)```", text, flags=re.DOTALL)
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"```\w*\n.*?```", "", text, flags=re.DOTALL))
    return [*inline, *(line for block in fenced for line in block.splitlines())]
