"""Hydra's override grammar: values written so that it reads them back, odd ones quoted, placeholders demanded."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from rlvr.errors import ConfigError

_KEY = re.compile(r"(\+{0,2}[A-Za-z][\w./@-]*)=(.*)", re.DOTALL)
PLACEHOLDER = "???"
PLAIN = re.compile(r"[A-Za-z_]\w*", re.ASCII)
RESERVED = ("null", "true", "false", "nan", "inf")  # words that stand for other values


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
