"""What form an override may have, and what a composed configuration leaves open, in our words."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin

from hydra.core.override_parser.types import Override, QuotedString, ValueType
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError, MissingMandatoryValue, OmegaConfBaseException

from rlvr.config import typed_keys
from rlvr.errors import ConfigError

ADDED = "sweep"  # the group that no configuration has unless it is added
NEEDED = "recipe"  # the group that no run does without


def options_of(group: Path) -> list[str]:
    """The options of a group of the recipe tree."""
    return sorted(path.stem for path in group.glob("*.yaml"))


def group_values(override: Override) -> list[str]:
    """The options that an override names: one, or those of a sweep; none for anything but names."""
    if override.is_sweep_override():
        return list(override.sweep_string_iterator())
    value = override.value()
    return [value] if isinstance(value, str) else []


def form_problem(override: Override, keys: Collection[str], groups: Mapping[str, Path]) -> str:
    """What is wrong with the form of an override whose key exists; empty if nothing is."""
    key, line = override.key_or_group, str(override.input_line)
    if problem := sweep_problem(override):
        return problem
    if key == ADDED and key in groups and not override.is_add():
        return f"{line}: a sweep is added, with a plus: +{line.lstrip('+~')}"
    if override.is_add() and key != ADDED and (key in groups or key in keys):
        return f"{line}: {key} is there already, so leave the plus out: {line.lstrip('+')}"
    if key not in groups:
        return ""
    if override.is_delete():
        return f"{line}: a run needs a {key}; choose one with {key}=NAME" if key == NEEDED else ""
    # A dictionary sets keys of the section and chooses nothing.
    if not override.is_sweep_override() and not isinstance(override.value(), str | dict):
        several = f" (-m {key}=A,B runs one after the other)" if isinstance(override.value(), list) else ""
        return f"{line}: takes one name{several}; use one of {', '.join(options_of(groups[key]))}"
    return ""


def plain_lists(schema: Any) -> dict[str, type]:
    """The dotted keys that hold lists of texts or numbers, and which of the two."""
    lists = {key: get_args(kind)[0] for key, kind in typed_keys(schema).items() if get_origin(kind) is list}
    return {key: kind for key, kind in lists.items() if kind in (str, int, float)}


def shape_problem(override: Override, groups: Collection[str], schema: Any) -> str:
    """What is wrong with a value whose shape its key cannot have; empty if nothing is."""
    key, line = override.key_or_group, override.input_line
    kinds = typed_keys(schema)
    if problem := _place_problem(override, kinds):
        return problem
    if key not in kinds or key in groups or override.is_delete() or override.is_sweep_override():
        return ""
    kind, value = kinds[key], override.value()
    if "${" in str(value):
        return ""
    # As it is typed, quotes included.
    if NoneType in get_args(kind) and override.get_value_element_as_str().lower() == "none":
        return f"{line}: would be the text {value!r}; for nothing write {key}=null, for the text {key}=\"'{value}'\""
    if is_dataclass(kind) and not isinstance(value, dict):
        return f"{line}: {key} is a section; set what is in it, such as {_examples(key, kind)}"
    if _of_records(kind):
        return _records_problem(str(line), key, get_args(kind)[0], value)
    return ""


def _place_problem(override: Override, kinds: Mapping[str, Any]) -> str:
    """What is wrong with a key that names a place in a list of records; empty if nothing is, or it names none."""
    key, line = override.key_or_group, override.input_line
    listed = next((name for name in kinds if key.startswith(f"{name}.") and _of_records(kinds[name])), None)
    if listed is None:
        return ""
    whole = f"write it whole, {listed}=[{{...}},{{...}}]"
    place = key.removeprefix(f"{listed}.").split(".")[0]
    if not place.isdecimal():
        return (
            f"{line}: {place} is no place in the list {listed}; they are counted from 0: {listed}.0.KEY=VALUE"
        )
    if override.is_add():
        return f"{line}: nothing can be added to a list; {whole}"
    return f"{line}: nothing can be taken out of a list; {whole}" if override.is_delete() else ""


def _of_records(kind: Any) -> bool:
    """Whether a key takes a list of records."""
    return get_origin(kind) is list and is_dataclass(get_args(kind)[0])


def _examples(key: str, section: Any) -> str:
    names = [part.name for part in fields(section)]
    usual = [name for name in ("name", "path") if name in names] or names[:2]
    return " or ".join(f"{key}.{name}=VALUE" for name in usual)


def _records_problem(line: str, key: str, record: Any, value: Any) -> str:
    """What is wrong with the value of a key that takes a list of records."""
    known = [part.name for part in fields(record)]
    if isinstance(value, str) and value.lstrip().startswith("["):  # a text, for Hydra cannot read it
        return (
            f"{key}={value}: cannot be read as a list of records; keys stand there without quotes, and a text "
            f"with signs such as = ~ : or a comma in double quotes: '{key}=[{{name:mine,path:\"~/rows.jsonl\"}}]'"
        )
    if value is None or not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        return (
            f"{line}: takes a list of records, such as '{key}=[{{name:gsm8k}},{{name:mine,path:rows.jsonl}}]'"
        )
    for name in (str(name) for entry in value for name in entry):
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else f"use {', '.join(known)}"
            return f"{line}: there is no key {name!r} in an entry of {key}; {hint}"
    return ""


def list_problem(override: Override, lists: Mapping[str, type]) -> str:
    """What is wrong with a single value for a key that takes a list; empty if nothing is."""
    key = override.key_or_group
    if key not in lists or override.is_delete() or override.is_sweep_override():
        return ""
    value = override.value()
    text = value.text if isinstance(value, QuotedString) else value
    if value is None or isinstance(value, list | dict) or "${" in str(text):
        return ""
    inner = str(text)[1:-1] if str(text)[:1] == "[" and str(text)[-1:] == "]" else str(text)
    written = f'["{inner}"]' if lists[key] is str else f"[{inner}]"
    return (
        f"{override.input_line}: takes a list, such as '{key}={written}', with the outer quotes for the shell"
    )


def sweep_problem(override: Override) -> str:
    """Why a sweep cannot be run over an override; empty if it can, or if the override is none."""
    if not override.is_sweep_override():
        return ""
    if override.value_type is ValueType.GLOB_CHOICE_SWEEP or not override.is_discrete_sweep():
        return (
            f"{override.input_line}: a sweep needs values that are spelt out, {override.key_or_group}=A,B, or of "
            "whole numbers range(START,END)"
        )
    return ""


def as_typed(composed: DictConfig) -> Any:
    """The dataclasses of a composed configuration.

    Raises:
        ConfigError: a key without a value, or one whose ${...} stands for nothing.
    """
    try:
        return OmegaConf.to_object(composed)
    except OmegaConfBaseException as error:
        raise ConfigError(unreadable(error)) from error


def as_written(overrides: ListConfig) -> list[str]:
    """Overrides that Hydra has on record; what ${...} in them stands for is not to be looked for in that record."""
    found = OmegaConf.to_container(overrides, resolve=False)
    if not isinstance(found, list):
        raise TypeError(f"a list of overrides was expected, found {type(found).__name__}")
    return [str(line) for line in found]


def unreadable(error: OmegaConfBaseException) -> str:
    """What OmegaConf found, and where, in a line."""
    said, key = str(error).splitlines()[0], getattr(error, "full_key", None)
    if isinstance(error, MissingMandatoryValue):
        return f"{key}: is left open (???), and nothing sets it; set {key}=VALUE"
    if isinstance(error, InterpolationResolutionError):
        why = said.partition("while resolving interpolation: ")[2] or said
        return (
            f"{key}: what its ${{...}} stands for cannot be read ({why}); name a key or a variable that exists, or "
            "write the value itself"
        )
    return said if key is None or str(key) in said else f"{key}: {said}"
