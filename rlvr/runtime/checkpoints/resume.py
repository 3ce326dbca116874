"""Whether a run may go on from a checkpoint: with which settings, which weights at its start, and on which data.

Most settings must be as they were. Some change no number, some are the remedy for what stopped the run, and some may
be changed on the record: see `rlvr.runtime.keys`.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from rlvr.advantage.group import RENAMED
from rlvr.advantage.token.registry import PLUGINS
from rlvr.config import Config, SourceConfig
from rlvr.data.eval_sets import label_of
from rlvr.data.fingerprint import DataSeen, what_changed
from rlvr.data.models.identity import PLACES_OF_MODELS, changed_models
from rlvr.errors import ConfigError
from rlvr.runtime.disk.settings import as_plain
from rlvr.runtime.keys import FREE, FREE_OF_COMPARED, RECORDED, REMEDIES, KeySet, general


@dataclass(frozen=True, slots=True)
class FoundInputs:
    """What lies at the places that a configuration names."""

    models: Mapping[
        str, Mapping[str, str]
    ]  # the keys that name models, each with its `rlvr.data.models.identity`
    data: DataSeen | None  # None: not known


def moved(cfg: Config, before: FoundInputs, now: FoundInputs) -> frozenset[str]:
    """The keys of places at which now lies what lay at another place when a checkpoint was written."""
    keys = {key for key, model in now.models.items() if before.models.get(key) == model}
    if before.data is None or now.data is None:
        return frozenset(keys)
    if not what_changed(before.data.training, now.data.training):
        keys |= {"data.train.path", *(f"data.train.sources.{n}.path" for n in range(len(cfg.data.training)))}
    for place, source in enumerate(cfg.data.eval):
        old, new = (found.eval_sets.get(label_of(source)) for found in (before.data, now.data))
        if old is not None and new is not None and not what_changed(old, new):
            keys.add(f"data.eval.{place}.path")
    return frozenset(keys)


def refuse_changes(path: Path, saved: Any, cfg: Config, free: frozenset[str] = frozenset()) -> None:
    """Refuse a configuration with which a run may not go on from the checkpoint at `path`.

    `free` are keys that may differ, such as those of what has only `moved`.

    Raises:
        ConfigError: a key that matters has changed since the checkpoint.
    """
    # What depends on the share of the run that is done would take another course with more steps.
    own_plugin = cfg.advantage.token not in PLUGINS  # may read the progress
    paced = own_plugin or cfg.advantage.options.get("alpha_end") is not None
    known = (FREE_OF_COMPARED if paced else FREE) | REMEDIES | RECORDED
    changed = [
        f"{key} was {old!r}, is {new!r}"
        for key, old, new in differences(of_today(saved), of_today(as_plain(cfg)))
        if general(key) not in known and key not in free
    ]
    if changed:
        raise ConfigError(
            f"resuming from {path} with another configuration: {'; '.join(changed)}. Put these back, or start a "
            "new run from the exported policy (model.path=<run>/policy)."
        )


def check_weights(
    path: Path, before: Mapping[str, Mapping[str, str]], now: Mapping[str, Mapping[str, str]], cfg: Config
) -> list[str]:
    """What there is to say about the models that a checkpoint's run began with, beside those that lie there now.

    `before` and `now` are `FoundInputs.models`; a model that lies elsewhere, with the same weights, is the same.

    Raises:
        ConfigError: other weights have taken the place of those that the run began with.
    """
    if not before:
        return [f"{path} does not say which weights it began with: whether they have changed is not checked"]
    if changed := changed_models(before, now):
        named = " and ".join(f"{key}={getattr(cfg.model, PLACES_OF_MODELS[key])}" for key in changed)
        raise ConfigError(
            f"resuming from {path} with other weights than the run began with: those at {named} have changed "
            "since. Put them back, or name the folder that holds them now; or start a new run from what was learnt "
            f"(rlvr export {path} output=<folder>, then model.path=<folder>)."
        )
    return []


def recorded_changes(saved: Any, cfg: Config) -> list[tuple[str, Any, Any]]:
    """(key, old, new) of what may change on the record; under a schedule the number of steps is part of it."""
    before = saved.get("learner", {}).get("schedule", "constant")
    scheduled = {before, cfg.learner.schedule} != {"constant"}
    keys = RECORDED | KeySet(("steps",)) if scheduled else RECORDED
    return [found for found in differences(saved, as_plain(cfg)) if found[0] in keys]


def check_data(path: Path, before: DataSeen | None, now: DataSeen, cfg: Config) -> list[str]:
    """What there is to say about the data that a checkpoint saw, beside the data as it is now.

    Raises:
        ConfigError: the training data is not that which the run was trained on until here.
    """
    if before is None:
        return [f"{path} does not say which data it was trained on: whether that has changed is not checked"]
    if why := what_changed(before.training, now.training):
        raise ConfigError(
            f"resuming from {path} with other training data: {_what_differs(before, now, cfg, why)}. Put the "
            "data back as it was, or start a new run from the exported policy (model.path=<run>/policy)."
        )
    return [
        f"WARNING data.eval {name}: {why} since {path}; accuracies before and after are of different problems"
        for name, new in now.eval_sets.items()
        if name in before.eval_sets and (why := what_changed(before.eval_sets[name], new))
    ]


def _what_differs(before: DataSeen, now: DataSeen, cfg: Config, whole: str) -> str:
    """The training sources that differ, each with what does; `whole` is what is said of a single one."""
    names = {s.name: f"{s.name} ({s.path})" if s.path else s.name for s in cfg.data.training}
    if not now.sources or now.sources.keys() != before.sources.keys():
        return f"data.train {', '.join(names.values())}: {whole}"
    return "; ".join(
        f"data.train {names[name]}: {why}"
        for name, new in now.sources.items()
        if (why := what_changed(before.sources[name], new))
    )


def of_today(settings: Any) -> Any:
    """Settings that an earlier version wrote: keys that it lacked at their defaults, old values by their new names."""
    filled = _filled(_defaults(Config) | {"recipe": "none"}, settings)
    data, advantage = filled["data"], filled["advantage"]
    data["eval"] = [_filled(_defaults(SourceConfig), entry) for entry in data["eval"]]
    data["train"]["sources"] = [_filled(_defaults(SourceConfig), entry) for entry in data["train"]["sources"]]
    advantage["estimator"] = RENAMED.get(advantage["estimator"], advantage["estimator"])
    return filled


def _filled(defaults: Any, own: Any) -> Any:
    """Nested dictionaries, with the defaults of what they lack."""
    if not (isinstance(defaults, dict) and isinstance(own, dict)):
        return own
    return {**defaults, **{key: _filled(defaults.get(key), value) for key, value in own.items()}}


def _defaults(kind: type) -> Any:
    """A schema's defaults as plain containers, the caller's own to change."""
    return copy.deepcopy(_made(kind))


@functools.cache
def _made(kind: type) -> Any:
    """They are made once: that takes longer than filling and comparing the settings of a run."""
    return OmegaConf.to_container(OmegaConf.structured(kind))


def differences(old: Any, new: Any, prefix: str = "") -> list[tuple[str, Any, Any]]:
    """(dotted key, old value, new value) of every leaf in which two nested dictionaries differ.

    Lists of as many dictionaries (sources, evaluation sets) are compared one by one, by their place from 0.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(set(old) | set(new))
        return [d for k in keys for d in differences(old.get(k), new.get(k), f"{prefix}{k}.")]
    if _records(old) and _records(new) and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
        return [d for place, (a, b) in pairs for d in differences(a, b, f"{prefix}{place}.")]
    return [] if old == new else [(prefix.rstrip("."), old, new)]


def _records(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, dict) for entry in value)
