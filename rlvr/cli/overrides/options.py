"""Command lines of folders and option=value, for commands that have no configuration in Hydra's form."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlvr.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Option:
    """How the text of an option is read."""

    read: Callable[[str], Any]  # raises ValueError for what is none
    needs: str  # such as "a folder", for the message


def whole_number(text: str) -> int:
    """0 or more; raises ValueError."""
    if not text.isdecimal():
        raise ValueError(text)
    return int(text)


def folder(text: str) -> Path:
    """A path; raises ValueError for none."""
    if not text:
        raise ValueError(text)
    return Path(text).expanduser()


def read_options(
    arguments: Sequence[str], options: Mapping[str, Option]
) -> tuple[tuple[Path, ...], dict[str, Any]]:
    """The folders of a command line, and the values of its options; what names a folder that exists is one.

    Raises:
        ConfigError: an option that there is not, or a value that cannot be read.
    """
    folders: list[Path] = []
    values: dict[str, Any] = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals or Path(argument).is_dir():
            folders.append(Path(argument))
            continue
        if key not in options:
            near = difflib.get_close_matches(key, options, n=1)
            hint = f"did you mean {near[0]}?" if near else f"the options are {', '.join(options)}"
            raise ConfigError(f"{key}: there is no such option; {hint}")
        try:
            values[key] = options[key].read(value)
        except ValueError as error:
            raise ConfigError(f"{argument!r}: {key} needs {options[key].needs}") from error
    return tuple(folders), values
