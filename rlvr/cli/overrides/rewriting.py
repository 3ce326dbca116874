"""Overrides of a training run that say what is meant, in forms that Hydra reads otherwise or not at all."""

from __future__ import annotations

import re
from collections.abc import Sequence
from types import NoneType
from typing import get_args, get_origin

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from rlvr.cli.overrides.shorthand import quote_odd_values, quoted, several_sources
from rlvr.config import Config, typed_keys

_KEY_AND_VALUE = re.compile(r"([A-Za-z][\w.]*)=(.*)", re.DOTALL)


def rewritten(arguments: Sequence[str]) -> list[str]:
    """The arguments as Hydra takes them.

    Raises:
        ConfigError: they name no source to train on.
    """
    return quote_odd_values([_as_meant(argument) for argument in several_sources(arguments)])


def _as_meant(argument: str) -> str:
    match = _KEY_AND_VALUE.fullmatch(argument)
    kind = typed_keys(Config).get(match[1]) if match is not None else None
    if match is None or kind is None:
        return argument
    if get_origin(kind) is dict and match[2].startswith("{"):
        return f"++{argument}"  # its keys may be new
    if kind is str or set(get_args(kind)) == {str, NoneType}:
        return f"{match[1]}={quoted(match[2])}" if _is_no_text(argument) else argument
    return argument


def _is_no_text(argument: str) -> bool:
    """Whether a value would come out as another text than it is typed: 1e5 as 100000.0, true as True."""
    try:
        return type(OverridesParser.create().parse_override(argument).value()) in (float, bool)
    except HydraException:
        return False
