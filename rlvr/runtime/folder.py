"""The folder of a run: configuration, metrics, samples, summary, and the `latest` link.

<root>/<name>/config.yaml            the whole configuration
              metrics.jsonl          one row a step, one row an evaluation
              batches.jsonl          what the batch of each step was formed of, see rlvr.runtime.replay
              samples/step_000001.jsonl   every response of a step (.jsonl.gz where they are many)
              changes.jsonl          settings changed on the way: step, key, old, new
              checkpoints/step_000020/    see rlvr.runtime.checkpoint
              policy/                the final policy in Hugging Face format
              summary.json           of a finished run only
              ready_groups.jsonl     finished groups that no checkpoint covers yet, see rlvr.runtime.buffer
              abandoned_*            what a run left that goes on, or back to an earlier checkpoint
"""

from __future__ import annotations

import itertools
import json
import os
import re
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from omegaconf import OmegaConf

from rlvr.config import Config
from rlvr.errors import ConfigError, RlvrError
from rlvr.locks import lock_folder
from rlvr.runtime.dumps import DumpWriter, dump_files, dump_name, write_dump
from rlvr.types import Group

CHANGES = "changes.jsonl"
BATCHES = "batches.jsonl"


@dataclass(frozen=True, slots=True)
class Change:
    """A setting that a run was resumed with another value of."""

    step: int  # the last with the old value
    key: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.key} {self.old} -> {self.new} after step {self.step}"


@dataclass(frozen=True, slots=True)
class Summary:
    """What a finished run is remembered by; written as summary.json."""

    recipe: str
    model: str
    data: str
    seed: int
    steps: int
    eval_accuracy_before: float
    eval_accuracy_after: float
    eval_accuracy_ci95: tuple[float, float]  # of the accuracy after, clustered by problem
    eval_sets: dict[str, dict[str, float]]  # per set: before, after, ci_low, ci_high
    train_seconds: float  # the training loop, evaluation and checkpoints included
    setup_seconds: float  # from the start of the process to the first step
    tokens_generated: int  # sampled for training
    max_logprob_mismatch: float | None  # largest step mean of |rollout - learner|; None: none compared
    resumed_from: str | None
    versions: dict[str, str]
    folder: str
    mismatch_compared_steps: int | None = None  # None: resumed from before they were counted
    changes: tuple[Change, ...] = ()  # of settings, on the way


# The first and the last version of the weights in an evaluation that was made while they moved.
FIRST, LAST = "version_first", "version_last"
DUMP_NAME = re.compile(r"(?:step|eval)_(\d{6,})")


class RunFolder:
    """Paths of one run and the writing of its small files."""

    def __init__(self, root: Path, name: str) -> None:
        self.path = root / name
        self.metrics_file = self.path / "metrics.jsonl"
        self.checkpoints = self.path / "checkpoints"
        self.policy = self.path / "policy"
        # Told of every checkpoint: where its data position is, and which prompts before it are pending.
        self.covered: Callable[[int, Collection[int]], object] = lambda position, pending: None
        self._dumps = DumpWriter(self.path / "samples")
        self._lock: IO[str] | None = None

    def create(self, cfg: Config) -> None:
        """Make the folder, write the configuration and point `<root>/latest` here; it is this process's from now on.

        Raises:
            ConfigError: the folder holds a run that this one would overwrite, or another run is writing to it.
        """
        resume = cfg.run.resume
        ours = resume != "never" and Path(resume).resolve().is_relative_to(self.path.resolve())
        if self.read_metrics() and not (resume == "auto" or ours):
            raise ConfigError(
                f"run.name={self.path.name}: {self.path} already holds a run. Choose another run.name, or "
                "continue it with run.resume=auto."
            )
        try:
            for folder in (self.path, self.checkpoints, self.path / "samples"):
                folder.mkdir(parents=True, exist_ok=True)
            self.claim()
            write_atomically(self.path / "config.yaml", OmegaConf.to_yaml(OmegaConf.structured(cfg)))
            self._link_latest()
        except OSError as error:
            raise RlvrError(f"run folder {self.path}: cannot be written ({error})") from error

    def claim(self) -> None:
        """Make the folder this process's to write to until it ends.

        Raises:
            ConfigError: another process is writing to it.
            OSError: it cannot be made or written.
        """
        if self._lock is None:
            self._lock = lock_folder(self.path, f"run.name={self.path.name}")

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
        try:
            yield
        except OSError as error:
            raise RlvrError(
                f"run folder {self.path}: cannot be written ({error}). Its checkpoints are intact: free some space "
                f"or mend the disk, then continue with run.name={self.path.name} run.resume=auto."
            ) from error

    def _link_latest(self) -> None:
        link = self.path.parent / "latest"
        fresh = link.with_name(f".latest-{os.getpid()}")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(self.path.name, target_is_directory=True)
        os.replace(fresh, link)

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
        """All rows of metrics.jsonl; a last line cut short by a kill is left out."""
        return read_rows(self.metrics_file)

    def rewind(self, step: int) -> int:
        """Drop metrics, batches and samples after `step`, which a resumed run writes again; the metric rows dropped.

        An evaluation with tokens of later weights goes as well: the checkpoint has it as under way.
        """
        dropped = {path: self._drop_rows(path, step) for path in (self.metrics_file, self.path / BATCHES)}
        with self.writing():
            for dump in dump_files(self.path / "samples"):
                if (found := DUMP_NAME.fullmatch(dump_name(dump))) and int(found[1]) > step:
                    dump.unlink()
        return dropped[self.metrics_file]

    def _drop_rows(self, path: Path, step: int) -> int:
        if not path.exists():
            return 0
        rows = read_rows(path)
        kept = [row for row in rows if max(row["step"], _newest_weights(row)) <= step]
        with self.writing():
            write_atomically(path, "".join(json.dumps(row) + "\n" for row in kept))
        return len(rows) - len(kept)

    def reopen(self, step: int) -> None:
        """Put aside what a finished run has left: one that goes on after `step` is not finished.

        The exported policy stays until it is replaced, unless the run goes back behind it.
        """
        summary = self.path / "summary.json"
        if not summary.exists():
            return
        with self.writing():
            if json.loads(summary.read_text())["steps"] > step and self.policy.exists():
                set_aside(self.policy)
            set_aside(summary)

    def write_changes(self, changes: Sequence[Change]) -> None:
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
        write_dump(self.path / "samples", name, groups, compress=False)

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
            write_atomically(self.path / "summary.json", json.dumps(asdict(summary), indent=2) + "\n")


def read_rows(path: Path) -> list[dict[str, Any]]:
    """All rows of a file that a run appends to; a last line cut short by a kill is left out."""
    rows: list[dict[str, Any]] = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break  # only the last line can be damaged: rows are appended whole
    return rows


def _newest_weights(row: dict[str, Any]) -> float:
    """The last version of the weights in a row of an evaluation during which they moved; 0 of another row."""
    return max((value for key, value in row.items() if key.endswith(f"/{LAST}")), default=0)


def read_changes(path: Path) -> tuple[Change, ...]:
    """The record of changed settings, empty where there is none.

    Raises:
        OSError, ValueError, TypeError: it cannot be read, or is none.
    """
    if not path.exists():
        return ()
    return tuple(Change(**json.loads(line)) for line in path.read_text().splitlines())


def run_name(cfg: Config) -> str:
    """The configured name, or one made of recipe, date and time."""
    return cfg.run.name or f"{cfg.recipe}-{time.strftime('%Y%m%d-%H%M%S')}"


def set_aside(path: Path) -> None:
    """Rename a file or folder to abandoned_<name>, with a number where there is one already."""
    names = (f"abandoned_{path.name}" + (f"-{n}" if n else "") for n in itertools.count())
    os.replace(path, next(target for name in names if not (target := path.with_name(name)).exists()))


@contextmanager
def replacing(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """A file to write that takes the place of `path` when all is written, and is gone where something fails.

    A reader, or a crash, sees the old or the new content, never a part.
    """
    draft = path.with_name(f".{path.name}.draft")
    try:
        with draft.open(mode) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def write_atomically(path: Path, text: str) -> None:
    """Replace a file's content at once, see `replacing`."""
    with replacing(path) as file:
        file.write(text)
