"""The text of a batch script, as `sbatch` gets it and `--dry-run` prints it. Pure."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from launch.config import SlurmConfig


@dataclass(frozen=True, slots=True)
class Work:
    """What a batch script is to run: one training run, or one job of a sweep for each array task."""

    name: str  # of the SLURM job
    folder: Path  # the project's, where the job starts
    python: str  # interpreter of the environment that all nodes share
    arguments: tuple[str, ...] = ()  # of `rlvr.train`, for one run
    run_folder: str = ""  # of one run; may name $SLURM_JOB_ID
    sweep_file: Path | None = None  # where the supervisors find the jobs of a sweep, one a line
    sweep_lines: str = ""  # what is to stand there
    tasks: tuple[int, ...] = ()  # the lines to run
    task_names: tuple[str, ...] = ()


def render(config: SlurmConfig, work: Work) -> str:
    """The batch script."""
    return "\n".join([*_header(config, work), *_directives(config, work), *_body(config, work)]) + "\n"


def _header(config: SlurmConfig, work: Work) -> list[str]:
    what = (
        "one training run"
        if work.sweep_file is None
        else f"{len(work.tasks)} training runs, one for each array task"
    )
    ray = "Ray runs inside the training process" if config.nodes == 1 else "srun starts Ray on every node"
    return [
        "#!/bin/bash",
        f"# rlvr: {what}. {ray} and ends with the job.",
        "",
    ]


def _directives(config: SlurmConfig, work: Work) -> list[str]:
    log = Path(config.logs).absolute() / ("%x-%j.log" if work.sweep_file is None else "%x-%A_%a.log")
    options = [f"--job-name={work.name}", f"--chdir={work.folder}", f"--output={log}", "--open-mode=append"]
    options += [f"--nodes={config.nodes}", "--ntasks-per-node=1"]
    if config.cpus_per_node is None:
        options.append("--exclusive")
    else:
        options.append(f"--cpus-per-task={config.cpus_per_node}")
    if config.gpus_per_node:
        options.append(f"--gpus-per-node={config.gpus_per_node}")
    if config.memory is not None:
        options.append(f"--mem={config.memory}")
    for key in ("partition", "account", "qos", "constraint"):
        if (value := getattr(config, key)) is not None:
            options.append(f"--{key}={value}")
    options.append(f"--time={config.time}")
    if work.sweep_file is not None:
        options.append(f"--array={','.join(map(str, work.tasks))}%{config.concurrency}")
    options += config.options
    return [
        *(f"#SBATCH {option}" for option in options),
        f"# SIGUSR1 comes {config.warn_seconds} s before the limit: the run writes a checkpoint, the job is requeued.",
        f"#SBATCH --signal=B:USR1@{config.warn_seconds}",
        "#SBATCH --requeue",
        "",
    ]


def _body(config: SlurmConfig, work: Work) -> list[str]:
    options = [
        f"--nodes {config.nodes}",
        f"--ready-seconds {config.ready_seconds}",
        f"--stop-seconds {config.stop_seconds}",
        f"--warn-seconds {config.warn_seconds}",
        f"--max-requeues {config.max_requeues}",
        f"--logs {shlex.quote(str(Path(config.logs).absolute()))}",
    ]
    if config.ray_port is not None:
        options.append(f"--ray-port {config.ray_port}")
    if config.interface is not None:
        options.append(f"--interface {shlex.quote(config.interface)}")
    options += [f"--ray-arg={shlex.quote(argument)}" for argument in config.ray_args]
    if work.sweep_file is not None:
        options.append(f"--sweep-file {shlex.quote(str(work.sweep_file))}")
        tail = []
        notes = [f"#   {task}: {name}" for task, name in zip(work.tasks, work.task_names, strict=True)]
        notes = ["# Array tasks:", *notes, ""]
    else:
        options.append(f"--run-folder {_with_job_id(work.run_folder)}")
        tail = ["  --", *(f"  {_with_job_id(argument)}" for argument in work.arguments)]
        notes = []
    command = [
        f"exec {shlex.quote(work.python)} -m launch.job",
        *(f"  {option}" for option in options),
        *tail,
    ]
    return [
        *notes,
        "set -e",  # not -u: conda and many module scripts read unset variables
        *config.setup,
        "",
        "# It replaces this shell, so that SLURM's signals reach it: it starts Ray and the run, passes signals on, and",
        "# requeues the job after a checkpoint.",
        " \\\n".join(command),
    ]


def _with_job_id(text: str) -> str:
    """Quoted for the shell, except for $SLURM_JOB_ID."""
    return '"$SLURM_JOB_ID"'.join(shlex.quote(part) if part else "" for part in text.split("$SLURM_JOB_ID"))
