"""The help of a command, made from its entry in the table of commands and the comments of its schema."""

from __future__ import annotations

import ast
import importlib.util
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

from rlvr.cli.commands import COMMANDS, Command
from rlvr.cli.overrides.keys import key_reference
from rlvr.cli.overrides.shorthand import ShortForm
from rlvr.dotted import load_dotted

WIDEST = 120
HYDRAS = (
    "`--cfg job` prints the whole configuration and starts nothing, `--hydra-help` lists Hydra's own options."
)


def answer_help(name: str) -> None:
    """Print the command's help and end the process, where the command line asks for it.

    Raises:
        SystemExit: 0, after printing.
    """
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(command_help(name))
        sys.exit(0)


def command_help(name: str) -> str:
    """What the command does, its short forms, the keys used most, examples, and where the rest stands."""
    command = COMMANDS[name]
    width = min(WIDEST, max(80, shutil.get_terminal_size((100, 24)).columns))
    about = module_docstring(command.module) if command.about is None else _filled(command.about, width)
    parts = [
        f"rlvr {name}: {command.summary}",
        f"usage: rlvr {name} {command.usage}\n       (or python -m {command.module} ...)",
        about,
    ]
    if command.forms is not None:
        parts.append("short forms:\n" + _table(((f.usage, f.meaning) for f in _forms(command.forms)), width))
    if command.schema is not None:
        parts.append("keys used most, with type and default:\n" + _table(_rows(command), width))
    lines = [f"  rlvr {name} {line}".rstrip() + f"\n      {what}" for line, what in command.examples]
    parts.append("examples:\n" + "\n".join(lines))
    rest = f"{command.rest} {HYDRAS}" if command.schema is not None else command.rest
    return "\n\n".join([*parts, _filled(rest, width)])


def module_docstring(module: str) -> str:
    """What a module says of itself, without importing it.

    Raises:
        ModuleNotFoundError: there is no such module.
    """
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(module)
    return ast.get_docstring(ast.parse(Path(found.origin).read_text())) or ""


def _forms(dotted: str) -> Sequence[ShortForm]:
    return load_dotted(dotted, "forms")


def _rows(command: Command) -> list[tuple[str, str, str]]:
    assert command.schema is not None
    known = {key.key: key for key in key_reference(load_dotted(command.schema, "schema"))}
    chosen = [known[name] for name in command.keys]
    return [(k.key, f"{k.type} = {k.default}", k.meaning) for k in chosen]


def _table(rows: Iterable[Sequence[str]], width: int) -> str:
    """Columns side by side, the last one wrapped."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*(row[:-1] for row in rows), strict=True)]
    lines = []
    for row in rows:
        first = "  " + "".join(f"{cell:<{size}}  " for cell, size in zip(row[:-1], widths, strict=True))
        lines.append(
            textwrap.fill(
                row[-1],
                width,
                initial_indent=first,
                subsequent_indent=" " * len(first),
                break_on_hyphens=False,
            )
        )
    return "\n".join(lines)


def _filled(text: str, width: int) -> str:
    return textwrap.fill(text, width, break_on_hyphens=False)
