"""Several runs in one command: `python -m rlvr.train -m recipe=dapo,dapo_divweight seed=1,2,3`, or `-m +sweep=NAME`.

Hydra's own sweeper expands the command into jobs. Each runs in a process of its own, in
`<hydra.sweep.dir>/<job name>`, so that a job which dies takes nothing with it; as many run side by side as cores,
memory, GPUs and `cluster.jobs` allow. Repeating the command skips the finished jobs and continues the others from
their checkpoints.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf

from rlvr.config import Config
from rlvr.entry import leaf_keys, recipes_folder, typed
from rlvr.errors import ConfigError, RlvrError
from rlvr.overrides import quoted as quoted_with
from rlvr.resume import FREE_KEYS_OF_COMPARED, recorded_changes
from rlvr.sweep_jobs import Task, run_tasks
from rlvr.sweep_needs import job_need, machine_room
from rlvr.sweep_slots import Need, Room, first_wave
from rlvr.validate import validate

OWN_KEYS = ("run.name", "run.resume")  # set for every job by the sweep
_PROBE_BYTES = 1 << 16  # room for Hydra's record of the sweep
TAG_LENGTH = 64  # wandb's limit


class SweepError(RlvrError):
    """Some jobs of a sweep did not finish."""


@dataclass(frozen=True, slots=True)
class Job:
    """One run of a sweep."""

    parts: tuple[str, ...]  # what tells it apart from the others, such as recipe-dapo and seed-1
    overrides: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name of its run folder."""
        return "_".join(self.parts)


@dataclass(slots=True)
class Sweep:
    """The jobs of a sweep and what has become of them."""

    jobs: tuple[Job, ...]
    module: str  # what `python -m` starts for a job
    folder: Path  # hydra.sweep.dir
    config_dir: str | None = None  # the user's own folder of recipes
    waiting: list[Task] = field(default_factory=list)
    side_by_side: int | None = None  # the least cluster.jobs of all jobs that has been set
    done: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)  # job name -> why

    def claim(self) -> None:
        """Make the sweep's folder and write to it, before Hydra does so in its own words.

        Raises:
            SweepError: it cannot be written.
        """
        probe = self.folder / f".probe-{os.getpid()}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                probe.write_bytes(b"\0" * _PROBE_BYTES)
            finally:
                probe.unlink(missing_ok=True)
        except OSError as error:
            raise SweepError(
                f"sweep folder {self.folder}: cannot be written ({error.strerror}); no job has been started. Free "
                "some space, or set run.root or hydra.sweep.dir to another place."
            ) from error

    def add(self, cfg: Config) -> None:
        """Put the job that Hydra has come to in the queue, unless it is finished; called once for each job."""
        current = HydraConfig.get()
        job = self.jobs[current.job.num]
        folder = self.folder / job.name
        finished = (folder / "summary.json").exists()
        if changed := changed_keys(folder, cfg, finished=finished):
            self.failed[job.name] = (
                f"its folder holds {'a finished' if finished else 'an unfinished'} run of another configuration "
                f"({'; '.join(changed)}); set hydra.sweep.dir to another folder"
            )
            return
        if finished:
            self.skipped.append(job.name)
            print(f"{job.name}: finished before, not run again", flush=True)
            return
        own = [] if self.config_dir is None else ["--config-dir", self.config_dir]
        arguments = (*own, *job_arguments(job, self.folder, cfg))
        self.waiting.append(Task(job.name, self.module, arguments, job_need(cfg), folder))
        if cfg.cluster.jobs is not None:
            self.side_by_side = min(cfg.cluster.jobs, self.side_by_side or cfg.cluster.jobs)

    def finish(self) -> None:
        """Run the jobs in the queue and say what has become of all.

        Raises:
            SweepError: not all are finished; the message names them.
        """
        if self.waiting:
            needs = [task.need for task in self.waiting]
            room = machine_room(self.side_by_side, gpus=any(need.gpus for need in needs))
            print(f"\nsweep {self.folder}: {how_many(needs, room)}", flush=True)
            run_tasks(self.waiting, room, on_start=self._started, on_end=self._ended)
        counts = f"{len(self.done)} run, {len(self.skipped)} finished before"
        if self.failed:
            lines = "".join(f"\n  {name}: {why}" for name, why in self.failed.items())
            raise SweepError(
                f"{len(self.failed)} of {len(self.jobs)} jobs failed ({counts}); repeat the same command to run "
                f"only these:{lines}"
            )
        print(f"\nsweep done: {counts}", flush=True)

    def _started(self, task: Task, logged: bool) -> None:
        number = [job.name for job in self.jobs].index(task.name) + 1
        where = f"; output in {task.log}" if logged else ""
        print(f"\njob {number} of {len(self.jobs)}, {task.name}: starts{where}", flush=True)

    def _ended(self, task: Task, problem: str) -> None:
        said = ""
        if not problem:
            try:
                said = outcome(json.loads((task.folder / "summary.json").read_text()))
            except OSError as error:
                problem = f"exit code 0, but it left no summary ({error})"
        if problem:
            self.failed[task.name] = problem
        else:
            self.done.append(task.name)
        left = len(self.jobs) - len(self.done) - len(self.skipped) - len(self.failed)
        print(f"job {task.name}: {'FAILED, ' + problem if problem else said}; {left} to go", flush=True)


def outcome(summary: Mapping[str, Any]) -> str:
    """What a finished job is worth a line for."""
    return (
        f"done, accuracy {summary['eval_accuracy_before']:.3f} -> {summary['eval_accuracy_after']:.3f} "
        f"in {summary['train_seconds']:.0f} s of training"
    )


def how_many(needs: Sequence[Need], room: Room) -> str:
    """How many of the jobs start at once and what keeps the next one waiting."""
    count, limit = first_wave(needs, room)
    jobs = "1 job to run" if len(needs) == 1 else f"{len(needs)} jobs to run"
    if len(needs) == 1:
        return jobs
    together = "one at a time" if count == 1 else f"{count} side by side"
    return f"{jobs}, {together}" + (f"; the limit is {limit}" if limit else "")


def plan_sweep(arguments: Sequence[str], module: str) -> Sweep | None:
    """The jobs of a command line, each checked, or None if it asks for a single run.

    Raises:
        ConfigError: there is no job, a job's configuration cannot work, or two jobs would share a folder.
    """
    parsed = get_args_parser().parse_args(list(arguments))
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
    with hydra.initialize_config_dir(str(recipes_folder()), version_base="1.3"):
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


def expand(overrides: Sequence[Override], named: frozenset[str]) -> tuple[Job, ...]:
    """The jobs in the order in which Hydra's sweeper runs them; `named` keys tell jobs apart even with one value."""
    swept = {o.get_key_element() for o in overrides if o.is_sweep_override()}
    for override in overrides:
        if override.key_or_group in OWN_KEYS or (
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


def changed_keys(folder: Path, cfg: Config, *, finished: bool = True) -> list[str]:
    """Which keys that matter for the result differ between a job's folder and this configuration.

    Of an unfinished run those that it could be resumed with, on the record: the jobs of a sweep are compared, so none
    changes on its way. What else differs it refuses itself.
    """
    if not (finished or any((folder / "checkpoints").glob("step_*"))):
        return []
    try:
        saved, now = OmegaConf.load(folder / "config.yaml"), OmegaConf.structured(cfg)
    except (OSError, yaml.YAMLError) as error:
        return [f"its config.yaml cannot be read: {error}"]
    if not finished:
        changes = recorded_changes(OmegaConf.to_container(saved), cfg)
        return [f"{key} was {old}, is {new}" for key, old, new in changes]
    return [
        f"{key} was {OmegaConf.select(saved, key)}, is {OmegaConf.select(now, key)}"
        for key in leaf_keys()
        if not key.startswith(FREE_KEYS_OF_COMPARED)
        and OmegaConf.select(saved, key) != OmegaConf.select(now, key)
    ]


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
        f"tracking.tags=[{','.join(quoted(tag[:TAG_LENGTH]) for tag in tags)}]",
    ]


def quoted(text: str) -> str:
    """A string in Hydra's override grammar, in the double marks of job lines."""
    return quoted_with(text, mark='"')
