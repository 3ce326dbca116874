"""Configurations with some keys changed, and what is said about them."""

from __future__ import annotations

import pytest

from rlvr.config import Config
from rlvr.errors import ConfigError
from rlvr.validate import validate


def config(**changes: object) -> Config:
    """The defaults with some keys changed; `__` stands for a dot."""
    cfg = Config(recipe="test")
    for key, value in changes.items():
        *path, last = key.replace("__", ".").split(".")
        node: object = cfg
        for part in path:
            node = getattr(node, part)
        assert hasattr(node, last), key
        setattr(node, last, value)
    return cfg


def refusal(cfg: Config) -> str:
    """What the user is told."""
    with pytest.raises(ConfigError) as caught:
        validate(cfg)
    return str(caught.value)
