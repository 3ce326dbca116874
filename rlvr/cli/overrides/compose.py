"""Configurations composed from recipes and overrides, and mistakes in either named in our words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from rlvr.cli.overrides.command_line import TRAINING, CommandLine, parse_options, parse_overrides
from rlvr.cli.overrides.forms import as_typed, as_written
from rlvr.cli.overrides.known import check_forms, check_keys
from rlvr.cli.overrides.recipe_tree import recipes_folder
from rlvr.cli.overrides.rewriting import rewritten
from rlvr.cli.overrides.shorthand import check_placeholders
from rlvr.config import Config
from rlvr.errors import ConfigError
from rlvr.runtime.disk.settings import schema


def check_overrides(arguments: Sequence[str]) -> None:
    """Compose the configuration of a training run once before Hydra does, to report a bad override in our words.

    Raises:
        ConfigError: unknown key or option, or a value of the wrong type.
    """
    parsed = check_written(arguments)
    if parse_options(arguments).config_dir is not None:
        return  # the user's own folder of recipes has options and keys that only Hydra knows
    composed = compose(parsed, TRAINING)
    if not any("${hydra" in argument for argument in arguments):  # which stands for nothing before Hydra runs
        as_typed(composed)


def check_written(arguments: Sequence[str]) -> list[Override]:
    """Judge overrides of a training run by their keys, options and forms; returns them for whoever composes them.

    Raises:
        ConfigError: unknown key or option, or one written in a form that it does not take.
    """
    parsed, own_folder = parse_overrides(arguments), parse_options(arguments).config_dir
    if own_folder is None:
        check_keys(parsed, TRAINING)
    else:
        check_forms(parsed, TRAINING)
    return parsed


def compose(parsed: Sequence[Override], line: CommandLine) -> DictConfig:
    """The configuration, without what is swept over: those values are checked job by job.

    Raises:
        ConfigError: a value of the wrong type.
    """
    single = [str(o.input_line) for o in parsed if not (o.is_sweep_override() or o.is_hydra_override())]
    start: Any
    if line.folder is None:
        start = hydra.initialize(config_path=None, version_base="1.3")
    else:
        start = hydra.initialize_config_dir(str(line.folder), version_base="1.3")
    with in_our_words(), start:
        return hydra.compose(line.name, overrides=single)


@contextmanager
def in_our_words() -> Iterator[None]:
    """Name what Hydra could not compose, and how it is written.

    Raises:
        ConfigError: an override that does not fit.
    """
    from hydra.errors import HydraException

    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        cause = error.__cause__ or error
        hint = ""
        if "not in struct" in str(cause):  # only dictionaries without a schema get here
            hint = "\nA key that nothing spells out needs a plus, such as +advantage.options.<name>=<value>"
        if "Could not append to config" in str(cause):
            raise ConfigError(f"{str(cause).splitlines()[0]} Leave the plus out to change it.") from error
        if cause is error and isinstance(error, HydraException):  # whose own words list what could be meant
            raise ConfigError(str(error).strip()) from error
        if "Cannot merge DictConfig with ListConfig" in str(cause):
            hint = "\nIn a file several training sources are listed below data.train.sources"
        if "dict is not a subclass of" in str(cause):
            hint = "\nThe list has no such place yet: write it whole, KEY=[{...},{...}]"
        # The two often begin with the same line.
        said = dict.fromkeys(str(each).splitlines()[0] for each in (error, cause))
        raise ConfigError("\n".join(said) + hint) from error


def typed(overrides: Sequence[str]) -> Config:
    """The training configuration of a single run; Hydra is initialised.

    Raises:
        ConfigError: an override that does not fit.
    """
    with in_our_words():
        composed = hydra.compose("train", overrides=list(overrides), return_hydra_config=True)
        own = composed.hydra
        with open_dict(composed):
            del composed["hydra"]
    check_composed(own)
    config = as_typed(composed)
    assert isinstance(config, Config)
    return config


def load(arguments: Sequence[str]) -> Config:
    """The training configuration of overrides, checked as the command does it; Hydra is as it was before, afterwards.

    Raises:
        ConfigError: an override that does not fit, an option of the command line, or several values for one key.
    """
    arguments = rewritten(arguments)
    if options := [argument for argument in arguments if argument.startswith("-")]:
        raise ConfigError(
            f"{options[0]}: an option of the command line; give overrides, key=value or group=option"
        )
    if any(override.lstrip("+").startswith("sweep=") for override in arguments):
        raise ConfigError(
            "sweep= names several runs; load and train each of them, or use `rlvr train +sweep=NAME`"
        )
    with registry_kept():
        register_schema()
        if swept := [o.input_line for o in check_written(arguments) if o.is_sweep_override()]:
            raise ConfigError(
                f"{swept[0]}: several values name several runs; load and train each of them, write a list as "
                "key=[a,b] and a text with commas as key='a,b'"
            )
        with hydra.initialize_config_dir(str(recipes_folder()), version_base="1.3"):
            return typed(arguments)


def checked_types(config: Config) -> Config:
    """The configuration, read once more by the schema: whoever sets fields in Python may mistake a type.

    Raises:
        ConfigError: a value of the wrong type, or a key that does not exist.
    """
    try:
        checked = OmegaConf.to_object(OmegaConf.structured(config))
    except OmegaConfBaseException as error:
        raise ConfigError(str(error)) from error
    assert isinstance(checked, Config)
    return checked


@contextmanager
def registry_kept() -> Iterator[None]:
    """Hydra's registry of configurations as it was before, afterwards: it is shared by everybody in the process."""
    store = ConfigStore.instance()
    before = dict(store.repo)
    try:
        yield
    finally:
        store.repo = before


def check_composed(own: Any) -> None:
    """Demand what the chosen recipes leave open; `own` is Hydra's part of a composed configuration.

    Raises:
        ConfigError: a key that a recipe file declares as ??? has not been set.
    """
    folders = [Path(source.path) for source in own.runtime.config_sources if source.schema == "file"]
    check_placeholders(own.runtime.choices, as_written(own.overrides.task), folders)


def register_schema() -> None:
    """Make the typed configuration known to Hydra under the name that recipes/train.yaml starts from."""
    store = ConfigStore.instance()
    if "schema.yaml" not in store.repo:
        store.store(name="schema", node=schema())
