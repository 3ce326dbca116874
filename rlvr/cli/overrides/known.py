"""Overrides that name no key or option, or have no such form, refused in our words."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from hydra.core.override_parser.types import Override

from rlvr.cli.overrides.command_line import TRAINING, CommandLine
from rlvr.cli.overrides.forms import (
    form_problem,
    group_values,
    list_problem,
    options_of,
    plain_lists,
    shape_problem,
)
from rlvr.cli.overrides.peer_keys import peer_hint
from rlvr.cli.overrides.recipe_tree import option_groups
from rlvr.config import Config, known_keys
from rlvr.errors import ConfigError


def explain_key(key: str, line: CommandLine = TRAINING) -> str:
    """What to do about a key that does not exist."""
    known = known_keys(line.schema)
    if line.schema is Config and (hint := peer_hint(key)):
        return f"{key}: there is no such key; {hint}"
    near = difflib.get_close_matches(key, [*known, *line.short], n=3, cutoff=0.5)
    if not near:
        tail = key.rpartition(".")[2]
        near = [k for k in known if k.rpartition(".")[2] == tail][:3]
    hint = f"did you mean {' or '.join(near)}?" if near else "see all keys with --cfg job."
    return f"{key}: there is no such key; {hint}"


def check_keys(parsed: Sequence[Override], line: CommandLine) -> None:
    """Refuse keys and options that do not exist.

    Raises:
        ConfigError: names the nearest keys, or all options of the group.
    """
    groups, keys, lists = _known(line)
    for override in parsed:
        key = override.key_or_group
        free = key in line.free or key.startswith(
            tuple(f"{name}{mark}" for name in line.free for mark in "./")
        )
        if key not in keys and key not in groups and not free:
            raise ConfigError(explain_key(key, line))
        _check_form(override, keys, groups, lists)
        if problem := shape_problem(override, groups, line.schema):
            raise ConfigError(problem)
        if key in groups:
            options = options_of(groups[key])
            for value in group_values(override):
                if value not in options:
                    raise ConfigError(
                        f"{key}={value}: there is no such option; use one of {', '.join(options)}"
                        + _of_ones_own(key, value)
                    )


def _of_ones_own(group: str, value: str) -> str:
    """How something of the user's own is named, where a value looks like one: a path, or a name on the hub."""
    if "/" not in value and "." not in value:
        return ""
    ways = {
        "model": f"model=local model.path={value}",
        "data": f"data=local data.train.path={value}",
        "recipe": "recipe=NAME --config-dir FOLDER, where FOLDER/recipe/NAME.yaml is the file",
    }
    return f"; for one of your own: {ways[group]}" if group in ways else ""


def check_forms(parsed: Sequence[Override], line: CommandLine) -> None:
    """Refuse overrides whose key takes no such form: a group of several options, a plus before what is there, a list.

    Raises:
        ConfigError: says how it is written.
    """
    groups, keys, lists = _known(line)
    for override in parsed:
        _check_form(override, keys, groups, lists)


def _check_form(
    override: Override, keys: Collection[str], groups: Mapping[str, Path], lists: Mapping[str, type]
) -> None:
    if problem := form_problem(override, keys, groups) or list_problem(override, lists):
        raise ConfigError(problem)


def _known(line: CommandLine) -> tuple[dict[str, Path], set[str], dict[str, type]]:
    """The groups of a program, its keys, and those of them that take a list; asked once for all overrides."""
    groups = {} if line.folder is None else option_groups(line.folder)
    return groups, set(known_keys(line.schema)), plain_lists(line.schema)
