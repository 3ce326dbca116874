"""The configuration of a run as plain containers, and config.yaml, which holds them.

They are written and read with libyaml: OmegaConf takes ten times as long, at every checkpoint and for every job of a
sweep, and reads the files as it reads its own.
"""

from __future__ import annotations

import functools
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from rlvr.config import Config

CONFIG_FILE = "config.yaml"
# What reading one may raise, of a file that was damaged or that a user has touched.
UNREADABLE = (OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError)

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: Any, text: str) -> Any:
    """1e5, nan and inf are numbers to OmegaConf, though not to YAML, and stand in quotes where they are text."""
    try:
        float(text)
    except ValueError:
        return dumper.represent_scalar("tag:yaml.org,2002:str", text)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="'")


_Dumper.add_representer(str, _text)


@functools.cache
def schema() -> DictConfig:
    """The typed configuration as OmegaConf reads it, to be merged into, not changed.

    It is made once a process: that takes longer than to merge a run's settings into it.
    """
    return OmegaConf.structured(Config)


def as_plain(cfg: Config) -> dict[str, Any]:
    """Nested dictionaries of the whole configuration, the caller's own to change."""
    return asdict(cfg)


def as_yaml(cfg: Config) -> str:
    """The text of config.yaml."""
    return yaml.dump(
        as_plain(cfg), Dumper=_Dumper, default_flow_style=False, allow_unicode=True, sort_keys=False
    )


def read_settings(folder: Path) -> dict[str, Any]:
    """What the config.yaml of a run or a checkpoint holds; raises one of UNREADABLE for what is no configuration."""
    content = yaml.load((folder / CONFIG_FILE).read_text(encoding="utf-8"), Loader=_Loader)
    if not isinstance(content, dict) or not content:
        raise ValueError(f"{CONFIG_FILE} holds no configuration")
    return content
