"""What a command line may say: the keys of its program, options of Hydra, and overrides, taken apart."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override

from rlvr.cli.overrides.recipe_tree import recipes_folder
from rlvr.config import Config
from rlvr.errors import ConfigError

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


_PLACE = re.compile(r"([\w.]+)\[(\d+)\]")


TRAINING = CommandLine(Config, "train", FREE, folder=recipes_folder())


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
        _refuse_unclear(name, [option for option in known if option.startswith(name)])
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


def _refuse_unclear(name: str, meant: Sequence[str]) -> None:
    """Refuse an option that is short for several, and those that name another configuration than the program's.

    Raises:
        ConfigError: says what is written instead.
    """
    own = "put the keys into FOLDER/recipe/NAME.yaml and give --config-dir FOLDER recipe=NAME"
    if name in meant:
        meant = [name]
    if len(meant) > 1:
        raise ConfigError(
            f"{name}: may stand for {', '.join(meant)}; write one of them out. For a file of keys, {own}"
        )
    if set(meant) & {"--config-name", "-cn", "--config-path", "-cp"}:
        raise ConfigError(f"{name}: a program has one configuration, to which keys are added; {own}")


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
        hint = ""
        if places := [each for each in overrides if _PLACE.match(each)]:
            hint = " A place in a list is written with a dot: " + _PLACE.sub(r"\1.\2", places[0])
        raise ConfigError(f"{error}\nOverrides look like key=value or group=option.{hint}") from error
