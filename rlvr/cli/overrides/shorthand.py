"""Hydra's override grammar, and the short forms that commands add to it.

Values written so that the grammar reads them back, odd ones quoted, placeholders demanded; short forms are declared
by each command (`ShortForm`) and written out by one function (`expand`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from rlvr.errors import ConfigError

_KEY = re.compile(r"(\+{0,2}[A-Za-z][\w./@-]*)=(.*)", re.DOTALL)
PLACEHOLDER = "???"
NO_SOURCE = re.compile(r"data\.train=\[\s*\]")
PLAIN = re.compile(r"[A-Za-z_]\w*", re.ASCII)
RESERVED = ("null", "true", "false", "nan", "inf")  # words that stand for other values


@dataclass(frozen=True, slots=True)
class ShortForm:
    """What may stand on a command's line in place of its keys; the declaration is its help as well."""

    usage: str  # such as "n=32"
    meaning: str
    # The overrides of a value; null: it is no short form but stands for itself. No function: the command's own.
    write: Callable[[str], list[str] | None] | None = None

    @property
    def name(self) -> str:
        return self.usage.partition("=")[0]


@dataclass(frozen=True, slots=True)
class Expanded:
    """A command line with its short forms written out."""

    arguments: list[str]
    own: dict[str, str]  # values that the command itself reads, by the short form's name


def expand(arguments: Sequence[str], forms: Sequence[ShortForm]) -> Expanded:
    """Write a command's short forms out as overrides, in place.

    Raises:
        ConfigError: a short form without a value.
    """
    by_name = {form.name: form for form in forms}
    written_out: list[str] = []
    own: dict[str, str] = {}
    for argument in arguments:
        key, _, value = argument.partition("=")
        form = by_name.get(key)
        if form is None:
            written_out.append(argument)
        elif not value:
            raise ConfigError(f"{argument!r} has no value; write {key}=VALUE")
        elif form.write is None:
            own[key] = value
        else:
            overrides = form.write(value)
            written_out += [argument] if overrides is None else overrides
    return Expanded(written_out, own)


def same(key: str) -> Callable[[str], list[str] | None]:
    """Short for one key, with the value as it is typed."""
    return lambda value: [f"{key}={value}"]


def path(key: str) -> Callable[[str], list[str] | None]:
    """Short for one key that is a path or a name: whatever characters it has."""
    return lambda value: [f"{key}={_as_text(value)}"]


def listed(key: str) -> Callable[[str], list[str] | None]:
    """A list without brackets, so that no comma means a sweep; with brackets it stands for itself."""

    def write(value: str) -> list[str] | None:
        if value.startswith("["):
            return None
        return [f"{key}=[{','.join(_as_entry(part) for part in value.split(',') if part)}]"]

    return write


def quoted(value: str, mark: str = "'") -> str:
    """A value as Hydra's override grammar reads it back unchanged, in quotation marks of either kind."""
    doubled = re.sub(rf"(\\+)(?={mark}|\Z)", lambda run: run[0] * 2, value)
    return mark + doubled.replace(mark, f"\\{mark}") + mark


def override(key: str, value: Any) -> str:
    """`key=value` in Hydra's grammar; the value is what YAML holds: null, a number, text, a list or a dictionary."""
    mark = "++" if isinstance(value, Mapping) else ""  # its keys may be new
    return f"{mark}{key}={written(value)}"


def written(value: Any) -> str:
    """A value as Hydra's override grammar reads it back: null, a number, text, a list or a dictionary."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value if PLAIN.fullmatch(value) and value.lower() not in RESERVED else quoted(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{name}:{written(part)}" for name, part in value.items()) + "}"
    if isinstance(value, Sequence):
        return "[" + ",".join(map(written, value)) + "]"
    return repr(value)


def quote_odd_values(arguments: Sequence[str]) -> list[str]:
    """The arguments, with quotes around values that Hydra's grammar cannot read, such as paths with = or brackets.

    What it can read is left as it is, so no value changes its meaning.
    """
    parser = OverridesParser.create()

    def readable(argument: str) -> bool:
        try:
            parser.parse_override(argument)
        except HydraException:
            return False
        return True

    found = []
    for argument in arguments:
        match = _KEY.fullmatch(argument)
        if match is not None and not readable(argument) and readable(f"{match[1]}={quoted(match[2])}"):
            argument = f"{match[1]}={quoted(match[2])}"
        found.append(argument)
    return found


def several_sources(arguments: Sequence[str]) -> list[str]:
    """The arguments, with `data.train=[...]` as the keys that it stands for: no list can replace a section.

    Raises:
        ConfigError: the list is empty.
    """
    found = []
    for argument in arguments:
        if NO_SOURCE.fullmatch(argument):  # which the schema would take for its own default
            raise ConfigError(f"{argument}: names no source to train on; give one at least, or leave it out")
        if argument.startswith("data.train=["):  # what a recipe leaves open for one source is not needed then
            found += ["data.train.path=null", argument.replace("=", ".sources=", 1)]
        else:
            found.append(argument)
    return found


def check_placeholders(choices: Mapping[str, Any], given: Sequence[str], folders: Sequence[Path]) -> None:
    """Demand what the chosen recipe files leave open with `???` and neither another of them nor an override sets.

    `choices` are the options of each group, `given` the overrides, `folders` where the groups lie. The schema's
    defaults would else take the place without a word.

    Raises:
        ConfigError: names key, file and what the file says of it.
    """
    open_keys: dict[str, Path] = {}
    pairs = [argument.lstrip("+").partition("=")[::2] for argument in given]
    set_keys = [key for key, value in pairs if str(choices.get(key)) != value]  # not the choices themselves
    for group, option in choices.items():
        file = next((path for f in folders if (path := f / group / f"{option}.yaml").is_file()), None)
        if file is None or group.startswith("hydra"):
            continue
        for key, value in _leaves(yaml.safe_load(file.read_text()) or {}):
            if value == PLACEHOLDER:
                open_keys[key] = file
            else:
                set_keys.append(key)
    for key, file in open_keys.items():
        if not any(
            key == other or key.startswith(f"{other}.") or other.startswith(f"{key}.") for other in set_keys
        ):
            about = " ".join(
                line.lstrip("# ") for line in file.read_text().splitlines() if line.startswith("# ")
            )
            about = about.removeprefix("@package _global_ ").strip()
            raise ConfigError(
                f"{key}: {file.parent.name}={file.stem} leaves it to you; set {key}=<value>. {about}"
            )


def _leaves(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(node, dict):
        yield prefix.rstrip("."), node
        return
    for name, value in node.items():
        yield from _leaves(value, f"{prefix}{name}.")


def _as_text(value: str) -> str:
    return value if value[0] in "'\"" else quoted(value)


def _as_entry(value: str) -> str:
    """An entry of a list: numbers stay numbers."""
    try:
        float(value)
    except ValueError:
        return _as_text(value)
    return value
