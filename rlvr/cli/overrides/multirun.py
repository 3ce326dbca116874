"""The jobs of a sweep out of one command line, expanded as Hydra's own sweeper does it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import hydra
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from rlvr.cli.overrides.command_line import parse_options
from rlvr.cli.overrides.compose import typed
from rlvr.cli.overrides.forms import as_written, sweep_problem, unreadable
from rlvr.cli.overrides.recipe_tree import recipes_folder
from rlvr.cli.overrides.shorthand import quoted as quoted_with
from rlvr.config import Config
from rlvr.errors import ConfigError
from rlvr.runtime.keys import SET_BY_SWEEP
from rlvr.sweep.plan import Job, Sweep
from rlvr.validate import validate
from rlvr.validate.tracking import LONGEST_TAG

quoted = partial(quoted_with, mark='"')  # a job's lines have double marks


def queue(sweep: Sweep, cfg: Config) -> None:
    """Put the job that Hydra has come to in the queue; called once for each job."""
    job = sweep.jobs[HydraConfig.get().job.num]
    own = [] if sweep.config_dir is None else ["--config-dir", sweep.config_dir]
    sweep.add(job, cfg, [*own, *job_arguments(job, sweep.folder, cfg)])


def plan_sweep(arguments: Sequence[str], module: str) -> Sweep | None:
    """The sweep of a command line, each job checked, or None if it asks for a single run.

    Raises:
        ConfigError: there is no job, a job's configuration cannot work, or two jobs would share a folder.
    """
    parsed = parse_options(arguments)
    if parsed.multirun and parsed.cfg:
        raise ConfigError(
            f"--cfg {parsed.cfg} prints one configuration and -m asks for several: leave out -m and give each key "
            "one value (+sweep=<name> alone shows what its jobs have in common)"
        )
    named = [o for o in parsed.overrides if o.lstrip("+").startswith("sweep=")]
    several = parsed.multirun or named or "hydra.mode=MULTIRUN" in parsed.overrides
    if not several or "hydra.mode=RUN" in parsed.overrides or parsed.cfg or parsed.help or parsed.info:
        return None
    own = search_path(parsed.config_dir)
    with _in_our_words(), hydra.initialize_config_dir(str(recipes_folder()), version_base="1.3"):
        composed = hydra.compose("train", overrides=own + named, return_hydra_config=True)
        params = composed.hydra.sweeper.params or {}
        overrides = [
            o
            for o in OverridesParser.create().parse_overrides(
                [f"{key}={value}" for key, value in params.items()] + parsed.overrides
            )
            if not o.is_hydra_override()
        ]
        jobs = expand(overrides, frozenset(params))
        placed = [o for o in parsed.overrides if o.startswith(("hydra.sweep.dir=", "run.root="))]
        composed = hydra.compose("train", overrides=own + named + placed, return_hydra_config=True)
        folder = Path(composed.hydra.sweep.dir)
        problems = [f"job {job.name}: {problem}" for job in jobs if (problem := what_is_wrong(job, own))]
    if problems:
        raise ConfigError("\n".join(problems) + "\nNo job has been started.")
    return Sweep(jobs, module, folder, parsed.config_dir)


@contextmanager
def _in_our_words() -> Iterator[None]:
    try:
        yield
    except HydraException as error:
        raise ConfigError(str(error.__cause__ or error)) from error
    except OmegaConfBaseException as error:
        raise ConfigError(unreadable(error)) from error


def expand(overrides: Sequence[Override], named: frozenset[str]) -> tuple[Job, ...]:
    """The jobs in the order in which Hydra's sweeper runs them; `named` keys tell jobs apart even with one value."""
    for override in overrides:
        if problem := sweep_problem(override):
            raise ConfigError(problem)
    swept = {o.get_key_element() for o in overrides if o.is_sweep_override()}
    for override in overrides:
        if override.key_or_group in SET_BY_SWEEP or (
            override.key_or_group == "run.root" and override.is_sweep_override()
        ):
            raise ConfigError(
                f"{override.input_line}: a sweep names and resumes its jobs itself, in the folder "
                "hydra.sweep.dir; leave it out"
            )
        if override.is_sweep_override() and not list(override.sweep_string_iterator()):
            raise ConfigError(f"{override.input_line}: names no value, so the sweep would have no job")
    if not swept:
        raise ConfigError(
            "-m: nothing to sweep over; give several values (seed=1,2,3) or a sweep (+sweep=paper_table)"
        )
    short = Counter(key.rpartition(".")[2] for key in swept | named)
    jobs = []
    for chosen in BasicSweeper.split_arguments(list(overrides), None)[0]:
        parts = []
        for key, _, value in (line.partition("=") for line in chosen):
            if key in swept | named:
                last = key.rpartition(".")[2]
                label = last if short[last] == 1 else key
                parts.append(re.sub(r"[^\w.-]+", "_", f"{label}-{value}"))
        jobs.append(Job(tuple(parts), tuple(chosen)))
    twice = [name for name, count in Counter(job.name for job in jobs).items() if count > 1]
    if twice:
        raise ConfigError(f"two jobs of the sweep would share the folder {twice[0]}: a value occurs twice")
    return tuple(jobs)


def what_is_wrong(job: Job, own: Sequence[str]) -> str:
    """Why the job's configuration cannot work; empty if nothing is known against it."""
    try:
        validate(typed([*own, *job.overrides]))
    except ConfigError as error:
        return str(error)
    return ""


def search_path(config_dir: str | None) -> list[str]:
    """The override with which recipes are also looked for in the user's own folder; none without one."""
    return [] if config_dir is None else [f"hydra.searchpath=[{quoted(str(Path(config_dir).resolve()))}]"]


def job_arguments(job: Job, folder: Path, cfg: Config) -> list[str]:
    """The command line of one job: its overrides, its folder, and where it belongs for wandb."""
    tags = [*cfg.tracking.tags, folder.name, *job.parts]
    return [
        *(line for line in job.overrides if line.partition("=")[0] not in ("run.root", "tracking.tags")),
        "hydra.mode=RUN",
        f"run.root={quoted(str(folder))}",
        f"run.name={quoted(job.name)}",
        "run.resume=auto",
        f"tracking.group={quoted(cfg.tracking.group or folder.name)}",
        f"tracking.tags=[{','.join(quoted(tag[:LONGEST_TAG]) for tag in tags)}]",
    ]


def jobs_on_record(file: Path) -> tuple[str, ...]:
    """The names of the jobs in the record (multirun.yaml) that Hydra keeps of a sweep's last command.

    Raises:
        ConfigError: it is of another version, or has been edited.
    """
    try:
        record = OmegaConf.load(file).hydra
        params = {str(key): value for key, value in (record.sweeper.params or {}).items()}
        lines = [f"{key}={value}" for key, value in params.items()] + as_written(record.overrides.task)
        overrides = [o for o in OverridesParser.create().parse_overrides(lines) if not o.is_hydra_override()]
    except (
        HydraException, OmegaConfBaseException, YAMLError, OSError, ValueError, TypeError, AttributeError
    ) as error:  # fmt: skip
        raise ConfigError(f"{file.name} cannot be read ({type(error).__name__})") from error
    return tuple(job.name for job in expand(overrides, frozenset(params)))
