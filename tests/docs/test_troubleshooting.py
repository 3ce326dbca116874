"""The messages that the page on errors quotes are those that the code has."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from tests.helpers.pages import DOCS
from tests.helpers.paths import REPOSITORY

# Words of vLLM and of the operating system.
FOREIGN = {"Unsupported CPU attention configuration: head_dim=", "No space left on device"}


@cache
def words_of_the_code() -> str:
    """Every text in the code, one a line; in f-strings without what is put in."""
    texts = []
    for file in [*(REPOSITORY / "rlvr").rglob("*.py"), *(REPOSITORY / "launch").glob("*.py")]:
        nodes = ast.walk(ast.parse(file.read_text()))
        texts += [
            node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
    return "\n".join(texts)


def quoted_messages() -> list[str]:
    """The parts of messages that stand as code in the tables' first columns, cut where something is left out."""
    rows = [line for line in (DOCS / "troubleshooting.md").read_text().splitlines() if line.startswith("| ")]
    quoted = [text for row in rows for text in re.findall(r"`([^`]+)`", row.split(" | ")[0])]
    return [part.strip(" ()") for text in quoted for part in text.split("...") if part.strip(" ()")]


@pytest.mark.slow
def test_every_quoted_message_stands_in_the_code() -> None:
    parts = quoted_messages()
    assert len(parts) > 30
    code = words_of_the_code()
    assert [part for part in parts if part not in code and part not in FOREIGN] == []
