"""Write the pages that are made from the code: docs/keys.md and docs/peer_keys.md.

    python docs/build_reference.py           writes both
    python docs/build_reference.py --check   writes nothing, and exits with 1 where one is stale

A key's meaning is the comment beside it, or above it, in its schema (rlvr.cli.overrides.keys).
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Collection
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import get_type_hints

from rlvr.analysis.config import AnalyzeConfig
from rlvr.analysis.cross.config import CrossSampleConfig
from rlvr.cli.overrides.keys import Key, key_reference
from rlvr.cli.overrides.peer_keys import PEER_KEYS, UNITS, WITHOUT
from rlvr.config import Config

DOCS = Path(__file__).resolve().parent
MADE_BY = "<!-- Made by `python docs/build_reference.py`; do not edit. -->"


def cell(text: str) -> str:
    """Text that stands in a table."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def section_docs(schema: type, name: str = "") -> dict[str, str]:
    """{section: the first sentence of its docstring} of a schema, "" being the schema itself."""
    found = {name: (schema.__doc__ or "").strip().splitlines()[0]}
    hints = get_type_hints(schema)
    for part in fields(schema):
        if is_dataclass(hints[part.name]):
            found |= section_docs(hints[part.name], f"{name}.{part.name}".lstrip("."))
    return found


def key_table(schema: type, left_out: Collection[str] = ()) -> list[str]:
    """The lines of a schema's tables, one table a section, without the sections that are left out."""
    rows: dict[str, list[Key]] = defaultdict(list)
    for key in key_reference(schema):
        rows[key.key.rpartition(".")[0]].append(key)
    lines = []
    for section, doc in section_docs(schema).items():
        if section.partition(".")[0] in left_out or section not in rows:
            continue
        lines += ["", f"### {section or 'without a section'}", "", doc, ""]
        lines += ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
        for key in rows[section]:
            default = "must be given" if key.default == "???" else f"`{key.default}`"
            lines.append(f"| `{key.key}` | {cell(key.type)} | {cell(default)} | {cell(key.meaning)} |")
    return lines


def sections_of(schema: type) -> set[str]:
    """The names of a schema's sections."""
    return {name for name, kind in get_type_hints(schema).items() if is_dataclass(kind)}


def keys_page() -> str:
    """Every key of every command that has a schema."""
    lines = [
        "# All keys",
        "",
        MADE_BY,
        "",
        "Every key with its type, its default and its meaning, as `rlvr/config.py` and the schemas of the analyses "
        "have them. On the command line a key is written `section.key=value`. Times are seconds and sizes are tokens "
        "unless the name says otherwise. Recipes and groups hold only differences from these defaults; "
        "`python -m rlvr.train --cfg job recipe=...` prints what a run would have.",
        "",
        "## rlvr train",
        *key_table(Config),
    ]
    for command, schema in (("analyze", AnalyzeConfig), ("cross-sample", CrossSampleConfig)):
        shared = sections_of(schema) & sections_of(Config)
        lines += ["", f"## rlvr {command}"]
        if shared:
            named = ", ".join(f"`{name}`" for name in sorted(shared))
            lines += ["", f"The sections {named} are those of training; only the other keys are listed."]
        lines += key_table(schema, shared)
    return "\n".join(lines) + "\n"


def peer_page() -> str:
    """Keys of other frameworks beside ours, and what is not there."""
    theirs: dict[str, list[str]] = defaultdict(list)
    for key, ours in PEER_KEYS.items():
        theirs[ours].append(key)
    lines = [
        "# Keys of other frameworks",
        "",
        MADE_BY,
        "",
        "What TRL, verl, OpenRLHF, SkyRL and prime-rl (a few times AReaL and slime) call a key, by its last part (or "
        "the last two), today or in earlier versions, and what comes closest here. The same table is behind the hint "
        "that you get when you type one of their keys. Close is not equal: see "
        "[Coming from TRL, verl, OpenRLHF, prime-rl](coming_from.md) for what counts differently.",
        "",
        "| here | there | note |",
        "| --- | --- | --- |",
    ]
    for ours in sorted(theirs):
        names = ", ".join(f"`{key}`" for key in theirs[ours])
        lines.append(f"| `{ours}` | {names} | {cell(UNITS.get(ours, ''))} |")
    lines += ["", "## Not there", "", "| there | instead |", "| --- | --- |"]
    lines += [f"| `{key}` | {cell(text)} |" for key, text in WITHOUT.items()]
    return "\n".join(lines) + "\n"


def pages() -> dict[Path, str]:
    """The pages as they should be, by file."""
    return {DOCS / "keys.md": keys_page(), DOCS / "peer_keys.md": peer_page()}


def stale() -> list[Path]:
    """The pages on disk that differ from what the code says."""
    return [file for file, text in pages().items() if not file.exists() or file.read_text() != text]


def main(arguments: list[str]) -> int:
    """Write the pages, or with --check only name those that are stale."""
    if arguments == ["--check"]:
        old = stale()
        for file in old:
            print(
                f"{file.name} is not what the code says: run python docs/build_reference.py", file=sys.stderr
            )
        return 1 if old else 0
    if arguments:
        print(f"{' '.join(arguments)}: the only argument is --check", file=sys.stderr)
        return 2
    for file, text in pages().items():
        file.write_text(text)
        print(f"wrote {file}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
