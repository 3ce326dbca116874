"""Which jobs the last command of a sweep asked for, run here or submitted to SLURM."""

from __future__ import annotations

import json
from pathlib import Path

from rlvr.analysis.sweep.runs import Planned
from rlvr.cli.overrides.multirun import jobs_on_record
from rlvr.errors import ConfigError

HYDRAS_FILE = "multirun.yaml"  # what the last command wrote: where it ran the jobs itself,
SLURM_FILES = "slurm_jobs-*.jsonl"  # and where it submitted them (launch)


def planned_jobs(folder: Path) -> Planned:
    """The jobs on record in the folder of a sweep; none without a record."""
    files = sorted([*folder.glob(HYDRAS_FILE), *folder.glob(SLURM_FILES)], key=lambda p: p.stat().st_mtime)
    if not files:
        return Planned()
    try:
        return Planned(jobs_on_record(files[-1]) if files[-1].name == HYDRAS_FILE else _submitted(files[-1]))
    except ConfigError as error:
        return Planned(notes=(f"{error}, so jobs that never started are not known.",))


def _submitted(file: Path) -> tuple[str, ...]:
    try:
        return tuple(Path(json.loads(line)["run_folder"]).name for line in file.read_text().splitlines())
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{file.name} cannot be read ({type(error).__name__})") from error
