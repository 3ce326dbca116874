"""Submit training to SLURM: `python -m launch.slurm slurm.nodes=2 slurm.partition=gpu recipe=dapo_divweight`.

Arguments that begin with `slurm.` are options of the job (launch/config.py, or a site's file), all others those of
`python -m rlvr.train`. With `-m` or `+sweep=NAME` each job of the sweep becomes a task of one job array.
`--dry-run` prints the batch script and submits nothing.
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import hydra

from launch.config import PREFIX, SlurmConfig, load_config
from launch.script import Work, render
from rlvr.cli.exits import readable_errors
from rlvr.cli.overrides.compose import check_written, register_schema, typed
from rlvr.cli.overrides.multirun import job_arguments, plan_sweep, quoted, search_path
from rlvr.cli.overrides.planned import SLURM_FILES
from rlvr.cli.overrides.recipe_tree import recipes_folder
from rlvr.cli.overrides.rewriting import rewritten
from rlvr.cluster.machine import run_gpus
from rlvr.config import Config
from rlvr.errors import ConfigError, RlvrError
from rlvr.runtime.disk.files import write_atomically
from rlvr.runtime.disk.names import named_as_latest
from rlvr.runtime.inputs import check_without_engines, distinct_inputs
from rlvr.sweep.plan import Sweep, changed_keys
from rlvr.validate import validate

COMMAND_SECONDS = 60.0  # for sbatch and squeue to answer
TRAIN = "rlvr.train"


class SlurmError(RlvrError):
    """SLURM refused something or did not answer."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A parsed command line."""

    config: SlurmConfig
    training: tuple[str, ...]  # arguments of rlvr.train
    dry_run: bool


def parse(arguments: Sequence[str]) -> Submission:
    """Split the command line between the job and the training.

    Raises:
        ConfigError: an option of the job that does not exist or cannot work.
    """
    parser = argparse.ArgumentParser(
        prog="python -m launch.slurm",
        description=(__doc__ or "").replace("`", ""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--dry-run", action="store_true", help="print the batch script, submit nothing")
    parser.add_argument("--site", type=Path, help="YAML file with the slurm options of a cluster")
    known, rest = parser.parse_known_args(list(arguments))
    own = [a for a in rest if a.startswith(PREFIX)]
    training = rewritten([a for a in rest if not a.startswith(PREFIX)])
    return Submission(load_config(known.site, own), tuple(training), known.dry_run)


def plan(request: Submission) -> Work:
    """What the batch script is to run; every training configuration is checked.

    Raises:
        ConfigError: a configuration that cannot work, or a sweep with nothing left to run.
    """
    register_schema()
    check_written(list(request.training))
    sweep = plan_sweep(request.training, TRAIN)
    return _plan_single(request) if sweep is None else _plan_sweep(request, sweep)


def _plan_single(request: Submission) -> Work:
    overrides, config_dir = list(request.training), None
    if "--config-dir" in overrides[:-1]:
        at = overrides.index("--config-dir")
        config_dir = overrides[at + 1]
        del overrides[at : at + 2]
    if foreign := [a for a in overrides if a.startswith("-")]:
        raise ConfigError(f"{foreign[0]}: not an option of a run on SLURM; see --help")
    with hydra.initialize_config_dir(str(recipes_folder()), version_base="1.3"):
        cfg = typed([*search_path(config_dir), *overrides])
    _check(request.config, cfg)
    _check_inputs([cfg])
    name = cfg.run.name or f"{cfg.recipe}-$SLURM_JOB_ID"
    kept = [a for a in overrides if a.partition("=")[0] not in ("run.name", "run.root", "run.resume")]
    root = Path(cfg.run.root).absolute()
    resume = "auto" if cfg.run.resume == "never" else cfg.run.resume
    own = [f"run.root={quoted(str(root))}", f"run.name={name}", f"run.resume={resume}", *_by_name(cfg)]
    return Work(
        name=request.config.name or f"rlvr-{cfg.recipe}",
        folder=Path.cwd(),
        python=sys.executable,
        arguments=(*_config_args(config_dir), *kept, *_cluster(request.config, cfg), *own),
        run_folder=str(root / name),
    )


def _plan_sweep(request: Submission, sweep: Sweep) -> Work:
    folder, config_args = sweep.folder.absolute(), _config_args(sweep.config_dir)
    lines, tasks, names, checked = [], [], [], []
    with hydra.initialize_config_dir(str(recipes_folder()), version_base="1.3"):
        for number, job in enumerate(sweep.jobs):
            cfg = typed([*search_path(sweep.config_dir), *job.overrides])
            _check(request.config, cfg)
            checked.append(cfg)
            run_folder = folder / job.name
            own = [*job_arguments(job, folder, cfg), *_cluster(request.config, cfg), *_by_name(cfg)]
            arguments = [*config_args, *own]
            lines.append({"run_folder": str(run_folder), "arguments": arguments})
            if not (run_folder / "summary.json").exists():
                tasks.append(number)
                names.append(job.name)
            elif changed := changed_keys(run_folder, cfg):
                raise ConfigError(
                    f"{run_folder}: holds a finished run of another configuration ({'; '.join(changed)}); set "
                    "hydra.sweep.dir to another folder"
                )
    _check_inputs(checked)
    if not tasks:
        raise ConfigError(
            f"{folder}: all {len(sweep.jobs)} jobs of the sweep are finished; nothing to submit"
        )
    return Work(
        name=request.config.name or f"rlvr-{folder.name}",
        folder=Path.cwd(),
        python=sys.executable,
        # a name of its own: queued tasks of an earlier submission still read theirs
        sweep_file=folder / SLURM_FILES.replace("*", f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"),
        sweep_lines="".join(json.dumps(line) + "\n" for line in lines),
        tasks=tuple(tasks),
        task_names=tuple(names),
    )


def _by_name(cfg: Config) -> list[str]:
    """What was the newest run when the job was submitted, by its own name: another may be when it starts."""
    return [f"{key}={quoted(path)}" for key, (_, path) in named_as_latest(cfg).items()]


def _check_inputs(configurations: Sequence[Config]) -> None:
    """Read data, templates and verifiers as the runs will, once for each kind; says what cannot be checked here."""
    notes: dict[str, None] = {}
    for cfg in distinct_inputs(configurations):
        notes |= dict.fromkeys(check_without_engines(cfg))
    for note in notes:
        print(f"not checked: {note}", file=sys.stderr)


def _config_args(config_dir: str | None) -> list[str]:
    """The option of `rlvr.train` for the user's own folder of recipes, wherever the job starts."""
    return [] if config_dir is None else ["--config-dir", str(Path(config_dir).absolute())]


def _check(config: SlurmConfig, cfg: Config) -> None:
    """Refuse a run that cannot work in this job."""
    validate(cfg)
    if cfg.cluster.address not in ("local", "auto"):
        raise ConfigError(
            f"cluster.address={cfg.cluster.address}: a job on SLURM starts a Ray of its own; leave it out, or run "
            "`python -m rlvr.train` where that cluster is"
        )
    gpus = run_gpus(cfg)
    if gpus > (there := config.nodes * config.gpus_per_node):
        raise ConfigError(
            f"slurm.nodes={config.nodes} x slurm.gpus_per_node={config.gpus_per_node} = {there} GPUs, but the run "
            f"asks for {gpus:g} (rollout.gpus_per_engine, learner.gpus_per_worker); raise those or lower these"
        )
    if config.gpus_per_node and not gpus:
        raise ConfigError(
            f"slurm.gpus_per_node={config.gpus_per_node}: the run uses no GPU (rollout.gpus_per_engine and "
            "learner.gpus_per_worker are 0), so these would idle; leave it out, or choose a set-up for GPUs, such as "
            "cluster=node_8gpu"
        )
    slots = config.nodes * (config.cpus_per_node or 1)
    actors = cfg.rollout.engines + cfg.learner.workers
    if config.nodes > 1 and config.cpus_per_node is not None and actors > slots:
        raise ConfigError(
            f"slurm.nodes={config.nodes} x slurm.cpus_per_node={config.cpus_per_node} = {slots} cores, but the run "
            f"has {actors} actors (rollout.engines + learner.workers), each of which needs one"
        )


def _cluster(config: SlurmConfig, cfg: Config) -> list[str]:
    """The cores of a node, unless the user has chosen: what a run finds idle differs from attempt to attempt.

    With one node the run starts Ray itself, whatever the recipe says; with several the supervisor adds the address.
    """
    known = config.cpus_per_node is not None and cfg.cluster.cpus is None
    cores = [f"cluster.cpus={config.cpus_per_node}"] if known else []
    return cores + (["cluster.address=local"] if config.nodes == 1 and cfg.cluster.address != "local" else [])


def submit(script: str, work: Work, logs: Path) -> str:
    """Hand the script to SLURM; returns the job's number.

    Raises:
        SlurmError: there is no sbatch, it refused, or the same sweep is still in the queue.
        RlvrError: a file of the job cannot be written.
    """
    if shutil.which("sbatch") is None:
        raise SlurmError(
            "sbatch: no such command here; run this where SLURM is, or see the script with --dry-run"
        )
    if work.sweep_file is not None and (
        waiting := _command("squeue", "-h", "-u", getpass.getuser(), "-n", work.name, "-o", "%i")
    ):
        raise SlurmError(
            f"{work.name}: is in the queue already (job {waiting.split()[0]}); its tasks would share their run folders "
            "with the new ones. Wait for it, `scancel` it, or give another sweep its own hydra.sweep.dir."
        )
    try:
        logs.mkdir(parents=True, exist_ok=True)
        write_jobs(work)
    except OSError as error:
        raise RlvrError(f"{error.filename}: cannot be written ({error.strerror})") from error
    number = _command("sbatch", "--parsable", text=script).partition(";")[0]
    try:
        write_atomically(logs / f"{work.name}-{number}.sbatch", script)
    except OSError as error:  # the job runs without it
        print(f"{logs}: no copy of the script is kept ({error.strerror})", file=sys.stderr)
    return number


def write_jobs(work: Work) -> None:
    """Write the file in which the tasks of a sweep find their jobs; nothing for a single run."""
    if work.sweep_file is not None:
        work.sweep_file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(work.sweep_file, work.sweep_lines)


def _command(*command: str, text: str | None = None) -> str:
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise SlurmError(
            f"{command[0]}: no answer within {COMMAND_SECONDS:g} s; is the SLURM controller up?"
        ) from error
    if done.returncode:
        said = re.sub(r"^\w+: error: ", "", done.stderr.strip(), flags=re.MULTILINE)
        hint = (
            "Partition, account, qos, constraint and time come from slurm.* or --site; `sinfo` shows the partitions. "
            if command[0] == "sbatch"
            else ""
        )
        raise SlurmError(f"{command[0]} refused: {said}\n{hint}Nothing was submitted.")
    return done.stdout.strip()


def main() -> None:
    """Entry point."""
    with readable_errors():
        request = parse(sys.argv[1:])
        work = plan(request)
        script = render(request.config, work)
        if request.dry_run:
            print(script, end="")
            print(
                "(not submitted; submitting also makes the output's folder and the file of a sweep's jobs)",
                file=sys.stderr,
            )
            return
        logs = Path(request.config.logs).absolute()
        number = submit(script, work, logs)
        where = logs / (
            f"{work.name}-{number}.log" if work.sweep_file is None else f"{work.name}-{number}_*.log"
        )
        print(f"submitted job {number} ({work.name}); output in {where}; `scancel {number}` ends it")


if __name__ == "__main__":
    main()
