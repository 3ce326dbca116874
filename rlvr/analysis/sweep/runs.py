"""The runs of a sweep's folder as records. What cannot be read is an error or a note, never left out in silence."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rlvr.errors import DataError
from rlvr.reward.verdict import FAILURES
from rlvr.runtime.checkpoints.resume import of_today
from rlvr.runtime.disk.dumps import dump_files, dump_lines
from rlvr.runtime.disk.rows import listed, row_of
from rlvr.runtime.disk.settings import UNREADABLE, read_settings
from rlvr.runtime.disk.summary import SUMMARY, Summary, read_summary

Metrics = dict[int, dict[str, float]]  # step -> name -> value
Key = TypeVar("Key")
Graded = dict[str, list[bool]]  # problem id -> which of its samples were right


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """One finished run of a sweep."""

    name: str  # of its folder
    condition: str  # the name without the seed
    summary: Summary
    accuracy: dict[str, float]  # evaluation set -> accuracy after training
    correct: dict[str, Graded]  # by evaluation set, after training
    train: Metrics  # rows of metrics.jsonl with kind train
    evals: Metrics  # rows with kind eval
    settings: dict[str, Any]  # dotted key -> value, of config.yaml


@dataclass(frozen=True, slots=True)
class Planned:
    """The jobs of a sweep's last command in their order, as far as they are known."""

    jobs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # why they are not


@dataclass(frozen=True, slots=True)
class SweepFolder:
    """What a folder holds."""

    name: str
    runs: tuple[FinishedRun, ...]
    unfinished: tuple[str, ...]  # jobs that were started and have no summary
    not_started: tuple[str, ...]  # jobs of the sweep without a folder
    notes: tuple[str, ...]  # what is missing or damaged, one sentence each


def grouped(runs: Iterable[FinishedRun], by: Callable[[FinishedRun], Key]) -> dict[Key, list[FinishedRun]]:
    """The runs of each condition, seed or the like, in the order of its first one."""
    found: dict[Key, list[FinishedRun]] = {}
    for run in runs:
        found.setdefault(by(run), []).append(run)
    return found


def read_sweep(folder: Path, planned: Planned | None = None) -> SweepFolder:
    """Read the finished runs of a sweep and the names of the other jobs; `planned` are those of its last command.

    Raises:
        DataError: there is no such folder or no finished run in it, the summary or configuration of a run cannot be
            read, or two runs are the same condition with the same seed.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder; give the folder of a sweep, such as runs/sweep")
    if (folder / "config.yaml").exists():
        raise DataError(
            f"{folder}: is a single run; give the folder of a sweep, which holds one folder a run, or describe the "
            f"run with: python -m rlvr.report {folder}"
        )
    jobs = sorted(p.parent for p in folder.glob("*/config.yaml") if not p.parent.is_symlink())
    finished = [job for job in jobs if (job / SUMMARY).exists()]
    if not finished:
        raise DataError(
            f"{folder}: holds no finished run (no */summary.json, {len(jobs)} started); give the folder of a sweep"
        )
    planned = planned or Planned()
    notes = list(planned.notes)
    place = {name: i for i, name in enumerate(planned.jobs)}
    runs = sorted(
        (_read_run(job, notes) for job in finished),
        key=lambda run: (place.get(run.name, len(place)), run.condition, run.summary.seed),
    )
    for same in grouped(runs, lambda run: (run.condition, run.summary.seed)).values():
        if len(same) > 1:
            names = " and ".join(run.name for run in same)
            raise DataError(
                f"{folder}: {names} are the same condition with the same seed; move one of them away"
            )
    return SweepFolder(
        name=folder.resolve().name,
        runs=tuple(runs),
        unfinished=tuple(job.name for job in jobs if job not in finished),
        not_started=tuple(name for name in planned.jobs if name not in {job.name for job in jobs}),
        notes=tuple(notes),
    )


def _read_run(job: Path, notes: list[str]) -> FinishedRun:
    summary = read_summary(job / SUMMARY)
    accuracy = {name: found["after"] for name, found in summary.eval_sets.items()}
    try:
        train, evals = _metrics(job, summary.steps, notes)
        return FinishedRun(
            name=job.name,
            condition=condition_of(job.name, summary.seed),
            summary=summary,
            accuracy=accuracy,
            correct=_samples(job, summary.steps, accuracy, notes),
            train=train,
            evals=evals,
            settings=flatten(of_today(read_settings(job))),
        )
    except UNREADABLE as error:  # files may be damaged
        raise DataError(
            f"{job}: its results cannot be read ({error!r}); run the job again, or move its folder away"
        ) from error


def condition_of(name: str, seed: int | None = None) -> str:
    """The name of a job without its seed, without any seed where it is not known."""
    value = r"\d+" if seed is None else str(seed)
    return re.sub(rf"(^|_)seed-{value}(?=_|$)", "", name).lstrip("_") or "run"


def by_condition(names: Sequence[str]) -> str:
    """Jobs by condition with their seeds, so that forty names are a few lines."""
    seeds: dict[str, list[str]] = {}
    for name in names:
        found = re.search(r"(?:^|_)seed-(\d+)(?=_|$)", name)
        seeds.setdefault(condition_of(name), []).extend(found.groups() if found else ())
    return ", ".join(f"{c} (seed {', '.join(own)})" if own else c for c, own in seeds.items())


def flatten(content: Any, prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one of dotted keys; lists stay as values, empty dictionaries vanish."""
    if not isinstance(content, dict):
        return {prefix.rstrip("."): content}
    return {k: v for key, value in content.items() for k, v in flatten(value, f"{prefix}{key}.").items()}


def _samples(job: Path, steps: int, accuracy: dict[str, float], notes: list[str]) -> dict[str, Graded]:
    """The graded samples of the last evaluation; a sample's id begins with the name of its set.

    Samples on which the verifier failed are left out, as they are of the accuracy.
    """
    name = f"eval_{steps:06d}"
    files = dump_files(job / "samples", name)
    if not files:
        notes.append(f"{job.name}: no {name}.jsonl, so it has no interval over problems.")
        return {}
    file = files[0]
    found: dict[str, Graded] = {name: {} for name in accuracy}
    by_length = sorted(accuracy, key=len, reverse=True)  # the name of one set may begin with another's
    try:
        lines = [line.decode(errors="replace") for line in dump_lines(file)]
    except DataError as error:
        notes.append(f"{job.name}: {error}, so the run has no interval over problems.")
        return {}
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            chosen = next(name for name in by_length if row["sample_id"].startswith(f"eval-{name}/"))
            if row["verdict"] not in FAILURES:
                found[chosen].setdefault(row["problem_id"], []).append(row["verdict"] == "correct")
        except (ValueError, KeyError, TypeError, AttributeError, StopIteration):  # damaged or edited
            notes.append(
                f"{job.name}: {file.name} line {number} cannot be read, so the run has no interval over problems."
            )
            return {}
    for name, problems in found.items():
        count = sum(len(row) for row in problems.values())
        mean = sum(sum(row) / len(row) for row in problems.values()) / max(len(problems), 1)
        if abs(mean - accuracy[name]) * count > 0.01 or not count:
            notes.append(
                f"{job.name}: the {count} samples of {name} in {file.name} do not give the accuracy of "
                "summary.json, so they are left out and the run has no interval over problems."
            )
            problems.clear()
    return {name: problems for name, problems in found.items() if problems}


def _metrics(job: Path, steps: int, notes: list[str]) -> tuple[Metrics, Metrics]:
    file = job / "metrics.jsonl"
    if not file.exists():
        notes.append(f"{job.name}: no metrics.jsonl, so it is in no curve and in no table of training.")
        return {}, {}
    rows: dict[str, Metrics] = {"train": {}, "eval": {}}
    damaged: list[str] = []
    infinite: set[str] = set()
    for number, line in enumerate(file.read_bytes().splitlines(), start=1):
        row = row_of(line, numbers=True)
        if row is None or "kind" not in row:  # cut short or edited
            damaged.append(str(number))
            continue
        step, kind = row.pop("step"), row.pop("kind")
        numbers = {key: float(value) for key, value in row.items()}
        infinite |= {key for key, value in numbers.items() if not math.isfinite(value)}
        # A repeated step was run again after a resumption.
        rows.setdefault(kind, {})[step] = {k: v for k, v in numbers.items() if math.isfinite(v)}
    if damaged:
        notes.append(f"{job.name}: metrics.jsonl, line {listed(damaged)} cannot be read and is left out.")
    if infinite:
        notes.append(f"{job.name}: values that are not finite are left out of {listed(sorted(infinite))}.")
    lacking = [str(step) for step in range(1, steps + 1) if step not in rows["train"]]
    if lacking:
        notes.append(f"{job.name}: metrics.jsonl has no row of training step {listed(lacking)}.")
    return rows["train"], rows["eval"]
