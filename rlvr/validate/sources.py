"""Settings of data sources that contradict each other; each problem names the source and the key."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import fields

from rlvr.config import DataConfig, SourceConfig
from rlvr.data.prompting.templates import build_template
from rlvr.data.prompts import examples_of, system_of, template_of
from rlvr.data.reading.formats import FORMATS
from rlvr.data.tasks.generated import FINITE, GENERATED_SETS
from rlvr.errors import ConfigError

OF_A_MIXTURE = ("name", "sources", "weight")  # what data.train says beside several sources


def source_problems(cfg: DataConfig) -> list[str]:
    """What is wrong with the sources of a configuration."""
    return _weights(cfg) + _nested(cfg) + _beside_sources(cfg.train) + _parts(cfg) + _prompts(cfg)


def keyed_sources(cfg: DataConfig) -> list[tuple[str, SourceConfig]]:
    """Every source with the key under which it stands, those for training first."""
    several = bool(cfg.train.sources)
    return [
        *((f"data.train.sources[{i}]" if several else "data.train", s) for i, s in enumerate(cfg.training)),
        *((f"data.eval[{i}]", s) for i, s in enumerate(cfg.eval)),
    ]


def _parts(cfg: DataConfig) -> list[str]:
    """A configuration or a split asked of what has none: it would not be read."""
    found: list[str] = []
    for key, source in keyed_sources(cfg):
        made = source.path is None and source.name in (*GENERATED_SETS, *FINITE)
        if source.subset is not None and (made or source.path is not None):
            where = f"path={source.path}" if source.path is not None else "a built-in task"
            instead = ", or name the folder of that configuration in path" if source.path is not None else ""
            found.append(
                f"{key}.subset={source.subset}: source {source.name} is {where}, and only data sets on the hub have "
                f"configurations; leave it out{instead}"
            )
        if source.split is not None and made:
            found.append(
                f"{key}.split={source.split}: source {source.name} is a built-in task, which has no splits; leave it "
                "out, or choose another task by its name"
            )
    return found


def _prompts(cfg: DataConfig) -> list[str]:
    """Formats and templates that do not exist, and what the template of a source would not read."""
    found: list[str] = []
    chats = set()
    for key, source in keyed_sources(cfg):
        if source.format is not None and source.format not in FORMATS:
            found.append(
                f"{key}.format={source.format}: use one of {', '.join(FORMATS)}, or null to have it detected"
            )
        name = template_of(source, cfg)
        where = "data" if source.template is None else key
        try:
            template = build_template(name, f"{where}.template")
        except ConfigError as error:
            found.append(str(error))
            continue
        chats.add(template.chat)
        system, examples = system_of(source, cfg), examples_of(source, cfg)
        if system is not None and not template.chat:
            found.append(
                f"{'data' if source.system is None else key}.system: source {source.name} has {where}.template={name}, "
                "which has no place for a system message; use chat, dapo or text that begins with chat:"
            )
        if examples is not None and not (template.chat or template.repeats):
            found.append(
                f"{'data' if source.examples is None else key}.examples: source {source.name} has "
                f"{where}.template={name}, which takes none; use chat"
            )
        if isinstance(examples, int) and examples < 0:
            found.append(f"{key}.examples={examples}: must be at least 0, or a path")
    unread = [name for name in ("chat_template", "chat_template_kwargs") if getattr(cfg, name)]
    if chats == {False}:
        found += [
            f"data.{name}: no source has a template that goes through a chat template; use chat"
            for name in unread
        ]
    return list(dict.fromkeys(found))


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
