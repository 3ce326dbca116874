"""Several runs in one command: `python -m rlvr.train -m recipe=dapo,dapo_divweight seed=1,2,3`, or `-m +sweep=NAME`.

Each job runs in a process of its own, in `<hydra.sweep.dir>/<job name>`, so that a job which dies takes nothing with
it; as many run side by side as cores, memory, GPUs and `cluster.jobs` allow. Repeating the command skips the finished
jobs and continues the others from their checkpoints. `rlvr.cli.overrides.multirun` makes the jobs of a command line.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from rlvr.config import Config, leaf_keys
from rlvr.data.models.identity import known_model, same_model
from rlvr.errors import DataError, RlvrError
from rlvr.runtime.checkpoints.resume import of_today, recorded_changes
from rlvr.runtime.disk.checkpoint_folders import checkpoints_in
from rlvr.runtime.disk.settings import UNREADABLE, as_plain, read_settings
from rlvr.runtime.disk.summary import SUMMARY, Summary, read_summary
from rlvr.runtime.keys import FREE_OF_COMPARED
from rlvr.sweep.jobs import Task, run_tasks
from rlvr.sweep.needs import job_need, machine_room
from rlvr.sweep.slots import Need, Room, first_wave

_PROBE_BYTES = 1 << 16  # room for Hydra's record of the sweep


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

    def add(self, job: Job, cfg: Config, arguments: Sequence[str]) -> None:
        """Put a job of this configuration and command line in the queue, unless it is finished."""
        folder = self.folder / job.name
        finished = (folder / SUMMARY).exists()
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
        self.waiting.append(Task(job.name, self.module, tuple(arguments), job_need(cfg), folder))
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
                said = outcome(read_summary(task.folder / SUMMARY))
            except DataError as error:
                problem = f"exit code 0, but {error}"
        if problem:
            self.failed[task.name] = problem
        else:
            self.done.append(task.name)
        left = len(self.jobs) - len(self.done) - len(self.skipped) - len(self.failed)
        print(f"job {task.name}: {'FAILED, ' + problem if problem else said}; {left} to go", flush=True)


def outcome(summary: Summary) -> str:
    """What a finished job is worth a line for."""
    return (
        f"done, accuracy {summary.eval_accuracy_before:.3f} -> {summary.eval_accuracy_after:.3f} "
        f"in {summary.train_seconds:.0f} s of training"
    )


def how_many(needs: Sequence[Need], room: Room) -> str:
    """How many of the jobs start at once and what keeps the next one waiting."""
    count, limit = first_wave(needs, room)
    jobs = "1 job to run" if len(needs) == 1 else f"{len(needs)} jobs to run"
    if len(needs) == 1:
        return jobs
    together = "one at a time" if count == 1 else f"{count} side by side"
    return f"{jobs}, {together}" + (f"; the limit is {limit}" if limit else "")


def changed_keys(folder: Path, cfg: Config, *, finished: bool = True) -> list[str]:
    """Which keys that matter for the result differ between a job's folder and this configuration.

    Of an unfinished run those that it could be resumed with, on the record: the jobs of a sweep are compared, so none
    changes on its way. What else differs it refuses itself. The same model at another place is no other model.
    """
    if not (finished or checkpoints_in(folder / "checkpoints")):
        return []
    try:
        saved = read_settings(folder)
    except UNREADABLE as error:
        return [f"its config.yaml cannot be read: {error}"]
    if not finished:
        changes = recorded_changes(saved, cfg)
        return [f"{key} was {old}, is {new}" for key, old, new in changes]
    saved, now = (OmegaConf.create(of_today(settings)) for settings in (saved, as_plain(cfg)))
    differing = [
        (key, before, after)
        for key in leaf_keys()
        if key not in FREE_OF_COMPARED
        and (before := OmegaConf.select(saved, key)) != (after := OmegaConf.select(now, key))
    ]
    return [
        f"{key} was {before}, is {after}"
        for key, before, after in differing
        if not _same_model(folder / SUMMARY, key, before, after)
    ]


def _same_model(summary: Path, key: str, before: Any, after: Any) -> bool:
    """Whether two places have one model, as far as that is known."""
    try:
        kept = dict(json.loads(summary.read_text()).get("models", {}))
    except (OSError, ValueError, TypeError, AttributeError):  # a file that a user may have touched
        kept = {}
    model, now = known_model(kept, key, before), known_model({}, key, after)
    return model is not None and now is not None and same_model(model, now)
