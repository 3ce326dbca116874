"""A configuration as the command line composes it, without starting anything."""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence

import hydra
from omegaconf import OmegaConf

from rlvr.cli.overrides.compose import check_overrides, register_schema
from rlvr.cli.overrides.recipe_tree import recipes_folder
from rlvr.cli.overrides.rewriting import rewritten
from rlvr.config import Config


def composed(arguments: Sequence[str]) -> Config:
    """What the arguments of `python -m rlvr.train` compose; of a sweep, its first job."""
    register_schema()
    arguments = rewritten(arguments)
    check_overrides(arguments)
    overrides = [a for a in arguments if "=" in a]
    if "-m" in arguments:
        overrides = [a.split(",")[0] for a in overrides]
    return compose(*overrides)


def compose(*overrides: str) -> Config:
    """The typed configuration that these overrides give, unchecked, and the caller's own to change."""
    return copy.deepcopy(_compose(overrides))


@functools.cache
def _compose(overrides: tuple[str, ...]) -> Config:
    register_schema()
    with hydra.initialize_config_dir(str(recipes_folder()), version_base="1.3"):
        cfg = OmegaConf.to_object(hydra.compose("train", overrides=list(overrides)))
    assert isinstance(cfg, Config)
    return cfg
