"""How `python -m rlvr.X` starts: Hydra with our schema and recipes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from rlvr.cli.exits import readable_errors
from rlvr.cli.opening import opened
from rlvr.cli.overrides.command_line import (
    CommandLine,
    options_first,
    parse_options,
    parse_overrides,
)
from rlvr.cli.overrides.compose import check_composed, check_overrides, compose, register_schema
from rlvr.cli.overrides.forms import as_typed
from rlvr.cli.overrides.known import check_keys
from rlvr.cli.overrides.recipe_tree import recipes_folder
from rlvr.cli.overrides.rewriting import rewritten
from rlvr.cli.overrides.shorthand import quote_odd_values
from rlvr.cli.shown_warnings import show_warnings
from rlvr.config import Config
from rlvr.errors import ConfigError
from rlvr.runtime.tracking.output import ending_output, lasting_output

if TYPE_CHECKING:
    from rlvr.sweep.plan import Sweep

LISTINGS = ("check", "plan")  # commands that are nothing without their output


def hydra_entry(
    run: Callable[[Config], object], sweep_module: str | None = None, *, command: str = "train"
) -> Callable[[], None]:
    """Turn a function of the training configuration into the `main` of a command, whose help `command` names.

    With `sweep_module`, the name of that module, a sweep runs each job as a process of it (see rlvr.sweep).
    """
    sweep: Sweep | None = None

    @hydra.main(version_base="1.3", config_path=str(recipes_folder()), config_name="train")
    def hydra_main(cfg: DictConfig) -> None:
        with _output_of(command), readable_errors():
            check_composed(HydraConfig.get())
            typed = as_typed(cfg)
            assert isinstance(typed, Config)
            if sweep is None:
                run(typed)
            else:
                from rlvr.cli.overrides.multirun import queue

                queue(sweep, typed)

    @opened(command)
    def main() -> None:
        nonlocal sweep
        show_warnings()
        register_schema()
        sys.argv[1:] = options_first(rewritten(sys.argv[1:]))
        check_overrides(sys.argv[1:])
        if sweep_module is not None:
            from rlvr.cli.overrides.multirun import plan_sweep

            sweep = plan_sweep(sys.argv[1:], sweep_module)
            if sweep is not None:
                sweep.claim()
        make_hydra_folder(sys.argv[1:])
        hydra_main()
        if sweep is not None:
            with lasting_output(), readable_errors():
                sweep.finish()

    return main


def _output_of(command: str) -> AbstractContextManager[None]:
    return ending_output() if command in LISTINGS else lasting_output()


def make_hydra_folder(arguments: Sequence[str]) -> None:
    """Make the folder that hydra.run.dir names, before Hydra does so in its own words.

    Raises:
        ConfigError: it cannot be made.
    """
    asked = parse_options(arguments)
    named = [part for part in parse_overrides(arguments) if part.key_or_group == "hydra.run.dir"]
    if not named or asked.multirun or asked.cfg or asked.info:
        return
    folder = str(named[-1].value())
    if "${" in folder:  # which stands for nothing before Hydra runs
        return
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"hydra.run.dir={folder}: cannot be made ({error}); leave it out, for nothing is kept there: a command's "
            "own keys say where its files go"
        ) from error


def register_command(line: CommandLine, node: Any) -> None:
    """Make a command's configuration known to Hydra, which writes no folder and no log file for it."""
    quiet = {
        "defaults": [
            f"{line.name}_schema",
            {"override hydra/job_logging": "none"},
            {"override hydra/hydra_logging": "none"},
            "_self_",
        ],
        "hydra": {"run": {"dir": "."}, "output_subdir": None},
    }
    ConfigStore.instance().store(name=f"{line.name}_schema", node=node)
    ConfigStore.instance().store(name=line.name, node=quiet)


def check_command(line: CommandLine, node: Any, arguments: Sequence[str]) -> DictConfig:
    """Register a command's configuration and compose it once before Hydra does, to report mistakes in our words.

    Raises:
        ConfigError: a key that does not exist, naming the nearest, a value of the wrong type, or no KEY=VALUE.
    """
    register_command(line, node)
    parsed = parse_overrides(arguments)
    check_keys(parsed, line)
    return compose(parsed, line)


def command_entry(
    line: CommandLine,
    run: Callable[[Any], object],
    expand: Callable[[Sequence[str]], list[str]] = quote_odd_values,
) -> Callable[[], None]:
    """The `main` of a command with a configuration of its own; `expand` writes its short forms out."""

    @opened(line.command)
    def main() -> None:
        sys.argv[1:] = options_first(expand(sys.argv[1:]))
        check_command(line, line.schema, sys.argv[1:])
        run_command(line, run)

    return main


def run_command(line: CommandLine, run: Callable[[Any], object]) -> None:
    """Compose the registered configuration of a command from sys.argv and run it, or answer --cfg."""

    @hydra.main(version_base="1.3", config_path=None, config_name=line.name)
    def hydra_main(cfg: DictConfig) -> None:
        with lasting_output(), readable_errors():
            typed = as_typed(cfg)
            assert isinstance(typed, line.schema)
            run(typed)

    with readable_errors():
        make_hydra_folder(sys.argv[1:])
    with ending_output():
        hydra_main()
