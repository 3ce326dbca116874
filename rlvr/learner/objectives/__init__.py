"""Objectives by name. One family a file; one with options is a function of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from rlvr.dotted import find_named, require_record
from rlvr.errors import ConfigError
from rlvr.learner.objectives.clip import CLIP, dual_clip, unbounded_positive
from rlvr.learner.objectives.contract import Objective
from rlvr.learner.objectives.dppo import dppo_kl, dppo_tv
from rlvr.learner.objectives.gmpo import GMPO
from rlvr.learner.objectives.likelihood import CISPO, GPG, NLL, NONE
from rlvr.learner.objectives.sapo import sapo

OBJECTIVES: dict[str, Objective | Callable[..., Objective]] = {
    "clip": CLIP,
    "dual_clip": dual_clip,
    "unbounded_positive": unbounded_positive,
    "cispo": CISPO,
    "gpg": GPG,
    "sapo": sapo,
    "gmpo": GMPO,
    "dppo_tv": dppo_tv,
    "dppo_kl": dppo_kl,
    "nll": NLL,
    "none": NONE,
}


def build_objective(name: str, options: Mapping[str, Any] | None = None) -> Objective:
    """The objective called `name` (built in, or a dotted path), made with `options` (loss.options) where it has any.

    Raises:
        ConfigError: unknown name or option, a value that is no number or out of range, or no `Objective`.
    """
    found, options = find_named(name, OBJECTIVES, "loss.objective"), dict(options or {})
    if callable(found):
        known = list(inspect.signature(found).parameters)
        _check_options(name, options, known)
        found = _made(found, name, options)
    else:
        _check_options(name, options, [])
    require_record(found, name, "loss.objective", Objective)
    return found


def _made(make: Callable[..., object], name: str, options: Mapping[str, Any]) -> object:
    try:
        inspect.signature(make).bind(**options)
    except TypeError as error:
        raise ConfigError(
            f"loss.objective={name}: {error}, which loss.options lacks; expected an "
            f"{Objective.__module__}.Objective, or a function of its options that gives one"
        ) from error
    return make(**options)


def _check_options(name: str, options: Mapping[str, Any], known: list[str]) -> None:
    if unknown := sorted(set(options) - set(known)):
        raise ConfigError(
            f"loss.options: {name} has no {', '.join(unknown)}; its options: {', '.join(known) or 'none'}"
        )
    for option, value in options.items() if name in OBJECTIVES else ():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigError(f"loss.options.{option}={value!r}: must be a number")
