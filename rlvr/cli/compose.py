"""Configurations composed from recipes and overrides, and mistakes in either named in our words."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from rlvr.cli.forms import (
    as_typed,
    as_written,
    form_problem,
    group_values,
    list_problem,
    options_of,
    plain_lists,
)
from rlvr.cli.peer_keys import peer_hint
from rlvr.cli.shorthand import check_placeholders, quote_odd_values, several_sources
from rlvr.config import Config, known_keys
from rlvr.errors import ConfigError

PACKAGE = Path(__file__).resolve().parent.parent
# Below these keys anything may stand: Hydra's own, and dictionaries and lists without a schema.
FREE = (
    "hydra",
    "advantage.options",
    "loss.options",
    "rollout.engine_args",
    "reward.verifier_options",
    "data.train.verifier_options",
    "data.eval",
    "data.train.sources",
    "data.chat_template_kwargs",
)


STUDIES = (
    "study"  # the folder of the recipe tree that is no group of Hydra's but holds studies (rlvr findings)
)


def recipes_folder() -> Path:
    """Where the Hydra tree lies: beside the package in a checkout, inside it in an installed wheel."""
    inside = PACKAGE / "recipes"
    return inside if inside.is_dir() else PACKAGE.parent / "recipes"


def option_groups(folder: Path) -> dict[str, Path]:
    """The groups of a recipe tree: a folder each, whose files are its options."""
    return {path.name: path for path in folder.iterdir() if path.is_dir() and path.name != STUDIES}


@dataclass(frozen=True, slots=True)
class CommandLine:
    """What the overrides of one program are checked against."""

    schema: Any  # the dataclass of its configuration
    name: str  # under which Hydra finds the configuration
    free: tuple[str, ...]  # keys at and below which anything may stand
    short: tuple[str, ...] = ()  # names that the program itself turns into keys
    folder: Path | None = None  # of its groups and recipes

    @property
    def command(self) -> str:
        """The command's name in the program."""
        return self.name.replace("_", "-")


TRAINING = CommandLine(Config, "train", FREE, folder=recipes_folder())


def explain_key(key: str, line: CommandLine = TRAINING) -> str:
    """What to do about a key that does not exist."""
    known = known_keys(line.schema)
    if line.schema is Config and (hint := peer_hint(key)):
        return f"{key}: there is no such key; {hint}"
    near = difflib.get_close_matches(key, [*known, *line.short], n=3, cutoff=0.5)
    if not near:
        tail = key.rpartition(".")[2]
        near = [k for k in known if k.rpartition(".")[2] == tail][:3]
    hint = f"did you mean {' or '.join(near)}?" if near else "see all keys with --cfg job."
    return f"{key}: there is no such key; {hint}"


def check_text(arguments: Sequence[str]) -> None:
    """Refuse arguments with bytes that the locale's encoding does not have: no file and no process could take them.

    Raises:
        ConfigError: naming the first.
    """
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise ConfigError(
                f"{ascii(argument)[1:-1]}: holds bytes that are no text in {sys.getfilesystemencoding()}, the encoding "
                "here; type it anew or, where that is not the terminal's own, set LC_ALL=C.UTF-8"
            ) from None


def check_overrides(arguments: Sequence[str]) -> None:
    """Compose the configuration of a training run once before Hydra does, to report a bad override in our words.

    Raises:
        ConfigError: unknown key or option, or a value of the wrong type.
    """
    parsed = parse_overrides(arguments)
    if parse_options(arguments).config_dir is not None:
        check_forms(parsed, TRAINING)
        return  # the user's own folder of recipes has options and keys that only Hydra knows
    check_keys(parsed, TRAINING)
    composed = compose(parsed, TRAINING)
    if not any("${hydra" in argument for argument in arguments):  # which stands for nothing before Hydra runs
        as_typed(composed)


def options_first(arguments: Sequence[str]) -> list[str]:
    """The arguments with Hydra's own options, such as -m, before the overrides: its parser wants them together.

    Raises:
        ConfigError: an option that Hydra does not have.
    """
    from hydra._internal.utils import get_args_parser

    known = get_args_parser()._option_string_actions
    options: list[str] = []
    overrides: list[str] = []
    left = list(arguments)
    while left:
        argument = left.pop(0)
        if not argument.startswith("-"):
            overrides.append(argument)
            continue
        options.append(argument)
        action = known.get(argument)
        name = argument.partition("=")[0]
        if argument[:2] not in known and not any(option.startswith(name) for option in known):
            raise ConfigError(
                f"{name}: there is no such option; overrides are written without dashes, "
                f"{name.lstrip('-') or 'key'}=VALUE, and --help shows the rest"
            )
        if action is not None and action.nargs == "?":  # --info, with one of its words or none
            options.append(left.pop(0) if left and left[0] in (action.choices or ()) else action.const)
        elif action is not None and action.nargs is None and left:
            options.append(left.pop(0))
    return [*options, *overrides]


def parse_options(arguments: Sequence[str]) -> argparse.Namespace:
    """Hydra's options among the arguments of a command, wherever they stand, and the overrides.

    Raises:
        ConfigError: an option that does nothing here.
    """
    from hydra._internal.utils import get_args_parser

    found = get_args_parser().parse_args(options_first(arguments))
    if found.shell_completion:
        raise ConfigError("--shell-completion: use `rlvr completion bash`, zsh or fish")
    for name in ("resolve", "package"):
        if getattr(found, name) and not found.cfg:
            raise ConfigError(
                f"--{name}: says how --cfg prints a configuration; add --cfg job, or leave it out"
            )
    return found


def parse_overrides(arguments: Sequence[str]) -> list[Override]:
    """The overrides among the arguments of a command.

    Raises:
        ConfigError: something is neither an override nor an option of Hydra.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    overrides = parse_options(arguments).overrides
    try:
        return OverridesParser.create().parse_overrides(overrides)
    except HydraException as error:
        raise ConfigError(f"{error}\nOverrides look like key=value or group=option.") from error


def check_keys(parsed: Sequence[Override], line: CommandLine) -> None:
    """Refuse keys and options that do not exist.

    Raises:
        ConfigError: names the nearest keys, or all options of the group.
    """
    groups, keys = _groups(line), set(known_keys(line.schema))
    for override in parsed:
        key = override.key_or_group
        free = key in line.free or key.startswith(
            tuple(f"{name}{mark}" for name in line.free for mark in "./")
        )
        if key not in keys and key not in groups and not free:
            raise ConfigError(explain_key(key, line))
        check_forms([override], line)
        if key in groups:
            options = options_of(groups[key])
            for value in group_values(override):
                if value not in options:
                    raise ConfigError(
                        f"{key}={value}: there is no such option; use one of {', '.join(options)}"
                    )


def check_forms(parsed: Sequence[Override], line: CommandLine) -> None:
    """Refuse overrides whose key takes no such form: a group of several options, a plus before what is there, a list.

    Raises:
        ConfigError: says how it is written.
    """
    groups, keys, lists = _groups(line), known_keys(line.schema), plain_lists(line.schema)
    for override in parsed:
        if problem := form_problem(override, keys, groups) or list_problem(override, lists):
            raise ConfigError(problem)


def _groups(line: CommandLine) -> dict[str, Path]:
    return {} if line.folder is None else option_groups(line.folder)


def compose(parsed: Sequence[Override], line: CommandLine) -> DictConfig:
    """The configuration, without what is swept over: those values are checked job by job.

    Raises:
        ConfigError: a value of the wrong type.
    """
    from hydra.errors import HydraException

    single = [str(o.input_line) for o in parsed if not (o.is_sweep_override() or o.is_hydra_override())]
    start: Any
    if line.folder is None:
        start = hydra.initialize(config_path=None, version_base="1.3")
    else:
        start = hydra.initialize_config_dir(str(line.folder), version_base="1.3")
    try:
        with start:
            return hydra.compose(line.name, overrides=single)
    except (HydraException, OmegaConfBaseException) as error:
        cause = error.__cause__ or error
        hint = ""
        if "not in struct" in str(cause):  # only dictionaries without a schema get here
            hint = "\nA key that nothing spells out needs a plus, such as +advantage.options.<name>=<value>"
        if "Could not append to config" in str(cause):
            raise ConfigError(f"{str(cause).splitlines()[0]} Leave the plus out to change it.") from error
        if "Cannot merge DictConfig with ListConfig" in str(cause):
            hint = "\nIn a file several training sources are listed below data.train.sources"
        raise ConfigError(f"{str(error).splitlines()[0]}\n{str(cause).splitlines()[0]}{hint}") from error


def typed(overrides: Sequence[str]) -> Config:
    """The training configuration of a single run; Hydra is initialised.

    Raises:
        ConfigError: an override that does not fit.
    """
    from hydra.errors import HydraException

    try:
        composed = hydra.compose("train", overrides=list(overrides), return_hydra_config=True)
        own = composed.hydra
        with open_dict(composed):
            del composed["hydra"]
        check_composed(own)
    except HydraException as error:
        raise ConfigError(str(error.__cause__ or error)) from error
    except OmegaConfBaseException as error:
        raise ConfigError(str(error)) from error
    config = as_typed(composed)
    assert isinstance(config, Config)
    return config


def load(arguments: Sequence[str]) -> Config:
    """The training configuration of overrides, checked as the command does it; Hydra is as it was before, afterwards.

    Raises:
        ConfigError: an override that does not fit, an option of the command line, or several values for one key.
    """
    arguments = quote_odd_values(several_sources(arguments))
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
        check_overrides(arguments)
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
    # Each time it is stored it is made anew, a fifth of what composing a configuration takes.
    if "schema.yaml" not in store.repo:
        store.store(name="schema", node=Config)
