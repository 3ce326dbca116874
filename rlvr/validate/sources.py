"""Settings of data sources that contradict each other; each problem names the source and the key."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import fields

from rlvr.config import DataConfig, SourceConfig

OF_A_MIXTURE = ("name", "sources", "weight")  # what data.train says beside several sources


def source_problems(cfg: DataConfig) -> list[str]:
    """What is wrong with the sources of a configuration."""
    return _weights(cfg) + _nested(cfg) + _beside_sources(cfg.train)


def _weights(cfg: DataConfig) -> list[str]:
    found = [
        f"data.train source {source.name}: weight={source.weight:g} must be a number of at least 0"
        for source in cfg.training
        if not 0 <= source.weight < math.inf
    ]
    if not found and not any(source.weight for source in cfg.training):
        names = ", ".join(source.name for source in cfg.training)
        found.append(
            f"data.train: the weights of all sources ({names}) are 0; give at least one a weight above 0"
        )
    twice = sorted(name for name, n in Counter(source.name for source in cfg.training).items() if n > 1)
    if twice:
        found.append(
            f"data.train: several sources are called {', '.join(twice)}; give each a name of its own"
        )
    return found + [
        f"data.eval source {source.name}: weight={source.weight:g}, but evaluation sets are not mixed; leave it out"
        for source in cfg.eval
        if source.weight != 1
    ]


def _nested(cfg: DataConfig) -> list[str]:
    inner = [("data.train.sources", source) for source in cfg.train.sources]
    inner += [("data.eval", source) for source in cfg.eval]
    return [
        f"{where} {source.name}: has sources of its own; list them beside it"
        for where, source in inner
        if source.sources
    ]


def _beside_sources(train: SourceConfig) -> list[str]:
    """Keys of a single source that a mixture would not read."""
    if not train.sources:
        return []
    default = SourceConfig()
    keys = [
        part.name
        for part in fields(train)
        if part.name not in OF_A_MIXTURE and getattr(train, part.name) != getattr(default, part.name)
    ]
    return [
        f"data.train.{key}={getattr(train, key)}: not read beside data.train.sources; set it in each of them"
        for key in keys
    ]
