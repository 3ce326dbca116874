"""The folder of a run: configuration, metrics, samples, summary, and the `latest` link.

<root>/<name>/config.yaml            the whole configuration
              metrics.jsonl          one row a step, one row an evaluation
              batches.jsonl          what the batch of each step was formed of, see rlvr.runtime.checkpoints.replay
              samples/step_000001.jsonl   every response of a step (.jsonl.gz where they are many)
              changes.jsonl          settings changed on the way: step, key, old, new
              checkpoints/step_000020/    see rlvr.runtime.checkpoints.checkpoint
              policy/                the final policy in Hugging Face format
              summary.json           of a finished run only
              ready_groups.jsonl     finished groups that no checkpoint covers yet, see rlvr.runtime.checkpoints.buffer
              abandoned_*            what a run left that goes on, back to an earlier checkpoint, or begins again
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from rlvr.config import Config
from rlvr.errors import ConfigError, RlvrError
from rlvr.locks import check_in_place, lock_folder
from rlvr.runtime.disk.checkpoint_folders import checkpoints_in
from rlvr.runtime.disk.dumps import DumpWriter, dump_files, dumped_step, write_dump
from rlvr.runtime.disk.files import made_new, path_of, write_atomically
from rlvr.runtime.disk.names import LATEST, check_run_name
from rlvr.runtime.disk.rows import read_rows
from rlvr.runtime.disk.settings import CONFIG_FILE, as_yaml
from rlvr.runtime.disk.summary import SUMMARY, ChangedSetting, Summary
from rlvr.types import Group

CHANGES = "changes.jsonl"
BATCHES = "batches.jsonl"
# The first and the last version of the weights in an evaluation that was made while they moved.
FIRST, LAST = "version_first", "version_last"

log = logging.getLogger(__name__)


class RunFolder:
    """Paths of one run and the writing of its small files."""

    def __init__(self, root: Path, name: str, *, named: bool = True) -> None:
        """`named`: nobody else's by intent, unlike one called after the second in which another may begin as well."""
        self._place(root / name)
        # Told of every checkpoint: where its data position is, and which prompts before it are pending.
        self.covered: Callable[[int, Collection[int]], object] = lambda position, pending: None
        self._named = named
        self._lock: IO[str] | None = None

    def _place(self, path: Path) -> None:
        self.path = path
        self.metrics_file = self.path / "metrics.jsonl"
        self.checkpoints = self.path / "checkpoints"
        self.policy = self.path / "policy"
        self.summary = self.path / SUMMARY
        self.samples = self.path / "samples"
        self._dumps = DumpWriter(self.samples)

    def create(self, cfg: Config) -> None:
        """Make the folder, write the configuration and point `<root>/latest` here; it is this process's from now on.

        Raises:
            ConfigError: the folder holds a run that this one would overwrite, or another run is writing to it.
        """
        resume = cfg.run.resume
        named = None if resume in ("never", "auto") else path_of(resume, "run.resume").resolve()
        ours = named is not None and named.is_relative_to(self.path.resolve())
        if self._named and (held := self._held()) and not (resume == "auto" or ours):
            raise ConfigError(
                f"run.name={self.path.name}: {self.path} already holds a run ({', '.join(held)}). Choose another "
                "run.name, or continue it with run.resume=auto."
            )
        try:
            self.claim()
            for folder in (self.checkpoints, self.samples):
                folder.mkdir(exist_ok=True)
            write_atomically(self.path / CONFIG_FILE, as_yaml(cfg))
        except OSError as error:
            raise RlvrError(f"run folder {self.path}: cannot be written ({error})") from error
        _link_latest(self.path)

    def _held(self) -> list[str]:
        """The names of what a run has left here."""
        files = (self.summary, self.metrics_file, self.path / BATCHES)
        held = [file.name for file in files if file.exists() and file.stat().st_size]
        found = (self.policy.exists(), bool(self.dumped_steps()), bool(checkpoints_in(self.checkpoints)))
        folders = (self.policy, self.samples, self.checkpoints)
        return held + [path.name for path, there in zip(folders, found, strict=True) if there]

    def dumped_steps(self) -> dict[Path, int]:
        """The dumps of steps, and of evaluations after steps, with their steps."""
        steps = {dump: dumped_step(dump) for dump in dump_files(self.samples)}
        return {dump: step for dump, step in steps.items() if step is not None}

    def claim(self) -> None:
        """Make the folder this process's to write to until it ends; one without a name of its own, a new one.

        Raises:
            ConfigError: another process is writing to it.
            OSError: it cannot be made or written.
        """
        if not self._named:
            self._place(made_new(self.path))
            self._named = True
        if self._lock is None:
            self._lock = lock_folder(self.path, f"run.name={self.path.name}")

    def check_ours(self) -> None:
        """Raise RlvrError where the folder has been removed or moved: there may be another run's by now."""
        if self._lock is not None:
            check_in_place(self._lock, f"run.name={self.path.name}")

    def release(self) -> None:
        """Let others write to the folder, this process included."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Say what to do where a file of a training run cannot be written.

        Raises:
            RlvrError: a full disk, say; the checkpoints until now are intact.
        """
        self.check_ours()
        try:
            yield
        except OSError as error:
            self.check_ours()
            raise RlvrError(
                f"run folder {self.path}: cannot be written ({error}). Its checkpoints are intact: free some space "
                f"or mend the disk, then continue with run.name={self.path.name} run.resume=auto."
            ) from error

    def append_metrics(self, row: dict[str, Any]) -> None:
        """Add one row to metrics.jsonl; it survives the end of the process."""
        self._append(self.metrics_file, row)

    def append_batch(self, row: dict[str, Any]) -> None:
        """The same to batches.jsonl."""
        self._append(self.path / BATCHES, row)

    def _append(self, path: Path, row: dict[str, Any]) -> None:
        with self.writing(), path.open("a") as file:
            file.write(json.dumps(row) + "\n")

    def read_metrics(self) -> list[dict[str, Any]]:
        """All rows of metrics.jsonl, see `read_rows`."""
        return read_rows(self.metrics_file, numbers=True)

    def write_changes(self, changes: Sequence[ChangedSetting]) -> None:
        """Replace the record of changed settings."""
        path = self.path / CHANGES
        with self.writing():
            if changes:
                write_atomically(path, "".join(json.dumps(asdict(change)) + "\n" for change in changes))
            else:
                path.unlink(missing_ok=True)

    def dump_samples(self, name: str, groups: Sequence[Group]) -> None:
        """Write every response of the groups to samples/<name>.jsonl.

        Raises:
            OSError: a full disk, say; what to do about it depends on who writes.
        """
        write_dump(self.samples, name, groups, compress=False)

    def dump_later(self, name: str, groups: Sequence[Group]) -> None:
        """The same beside the loop, compressed where they are many; what fails is raised by a later call."""
        with self.writing():
            self._dumps.write(name, groups)

    def finish_dumps(self) -> None:
        """Return once all samples are on disk."""
        with self.writing():
            self._dumps.flush()

    def write_summary(self, summary: Summary) -> None:
        """Write summary.json."""
        with self.writing():
            write_atomically(self.summary, json.dumps(asdict(summary), indent=2) + "\n")


def read_changes(path: Path) -> tuple[ChangedSetting, ...]:
    """The record of changed settings, empty where there is none.

    Raises:
        OSError, ValueError, TypeError: it cannot be read, or is none.
    """
    if not path.exists():
        return ()
    return tuple(ChangedSetting(**json.loads(line)) for line in path.read_text().splitlines())


def run_folder(cfg: Config, prefix: str) -> RunFolder:
    """The folder <run.root>/<run.name>; without a run.name one is made of `prefix`, date and time.

    Raises:
        ConfigError: no folder of runs can have one of that name.
    """
    root = path_of(cfg.run.root, "run.root")
    name = cfg.run.name or f"{prefix}-{time.strftime('%Y%m%d-%H%M%S')}"
    check_run_name(name, root)
    return RunFolder(root, name, named=bool(cfg.run.name))


def _link_latest(folder: Path) -> None:
    """Point <root>/latest at the folder; a run does not need the link, and goes on without it."""
    link = folder.parent / LATEST
    fresh = link.with_name(f".latest-{os.getpid()}")
    try:
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(folder.name, target_is_directory=True)
        os.replace(fresh, link)
    except OSError as error:  # a folder of that name, or a file system without links
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        log.warning(
            "%s: cannot be made the link to the newest run (%s); this one is %s",
            link,
            error.strerror or error,
            folder,
        )
