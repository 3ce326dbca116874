"""Values of keys against what they may be, in the same words everywhere. Null passes where the schema allows it."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any


def not_among(rows: Iterable[tuple[str, object, Collection[str]]]) -> list[str]:
    """What is wrong with keys that take one of some words: (key, value, words)."""
    return [
        f"{key}={value}: use one of {', '.join(allowed)}"
        for key, value, allowed in rows
        if value is not None and value not in allowed
    ]


def too_small(rows: Iterable[tuple[str, float | None, float]]) -> list[str]:
    """What is wrong with keys that have a lower bound: (key, value, bound); nan is below every bound."""
    return [
        f"{key}={value}: must be at least {low:g}"
        for key, value, low in rows
        if value is not None and not value >= low
    ]


def not_positive(rows: Iterable[tuple[str, float | None]]) -> list[str]:
    """What is wrong with keys that must be greater than 0: (key, value)."""
    return [
        f"{key}={value}: must be greater than 0" for key, value in rows if value is not None and not value > 0
    ]


def no_share(rows: Iterable[tuple[str, float | None]]) -> list[str]:
    """What is wrong with keys that are a share of something, and not of nothing: (key, value)."""
    return [
        f"{key}={value}: must be greater than 0 and at most 1"
        for key, value in rows
        if value is not None and not 0 < value <= 1
    ]


def value_at(cfg: object, key: str) -> Any:
    """The value of a dotted key of a configuration."""
    for part in key.split("."):
        cfg = getattr(cfg, part)
    return cfg


def out_of_range(
    cfg: object,
    choices: Mapping[str, Collection[str]],
    at_least: Mapping[str, float],
    positive: Iterable[str] = (),
    shares: Iterable[str] = (),
    infinite: Collection[str] = (),
) -> list[str]:
    """What is wrong with the values of keys taken one at a time, each under its dotted name.

    Numbers are finite, those that nothing else bounds as well; keys that are `infinite` may have no bound, but be nan
    no more than others.
    """
    found = not_among((key, value_at(cfg, key), allowed) for key, allowed in choices.items())
    found += too_small((key, value_at(cfg, key), low) for key, low in at_least.items())
    found += not_positive((key, value_at(cfg, key)) for key in positive)
    found += no_share((key, value_at(cfg, key)) for key in shares)
    named = {problem.partition("=")[0] for problem in found}
    return found + [
        f"{key}={value}: must be a finite number"
        for key, value in numbers_in(cfg)
        if key not in named and not (math.isfinite(value) or (math.isinf(value) and key in infinite))
    ]


def numbers_in(value: object, key: str = "") -> Iterator[tuple[str, float]]:
    """(key, number) of every fraction in a configuration, those in lists included; free dictionaries are left out."""
    if isinstance(value, float):
        yield key, value
    elif isinstance(value, list):
        for place, part in enumerate(value):
            yield from numbers_in(part, f"{key}[{place}]")
    elif is_dataclass(value):
        for part in fields(value):
            yield from numbers_in(getattr(value, part.name), f"{key}.{part.name}".lstrip("."))
