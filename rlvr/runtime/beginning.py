"""Where a run begins: after which checkpoint, from which other runs, and on how many cores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rlvr.cluster.machine import idle_cores
from rlvr.config import Config
from rlvr.errors import ConfigError, DataError
from rlvr.runtime.checkpoints.checkpoint import (
    TrainingState,
    changes_until,
    find_checkpoint,
    load_state,
    set_aside_later,
)
from rlvr.runtime.checkpoints.replay import Recorded
from rlvr.runtime.checkpoints.resume import FoundInputs, check_data, check_weights
from rlvr.runtime.disk.checkpoint_folders import renamed_after, step_name
from rlvr.runtime.disk.files import path_of
from rlvr.runtime.disk.folder import RunFolder
from rlvr.runtime.disk.names import may_have_meant, named_as_latest
from rlvr.runtime.disk.rewind import begin_again, reopen, rewind
from rlvr.runtime.disk.settings import UNREADABLE, read_settings
from rlvr.runtime.disk.summary import ChangedSetting, finished_steps
from rlvr.runtime.inputs import TrainingInputs


def settle_latest(cfg: Config, folder: RunFolder) -> Config:
    """The configuration with the own name of the newest run wherever a key names it as `latest`.

    A run makes itself the newest one before it reads the others, and its record must go on naming them. One that goes
    on, as a requeued job does with the command of its beginning, means the run that was the newest one then.

    Raises:
        ConfigError: a model, or a run to replay, is this run itself, and its record does not say which one was meant.
    """
    settled = {key: _meant(key, *paths, folder) for key, paths in named_as_latest(cfg).items()}
    model, rollout, run = cfg.model, cfg.rollout, cfg.run
    base = settled.get("model.base_path", model.base_path)
    return replace(
        cfg,
        model=replace(model, path=settled.get("model.path", model.path), base_path=base),
        rollout=replace(rollout, replay=settled.get("rollout.replay", rollout.replay)),
        run=replace(run, resume=settled.get("run.resume", run.resume)),
    )


def _meant(key: str, path: str, found: str, folder: RunFolder) -> str:
    """What the path of a key means which names the newest run, and is `found` by that run's own name."""
    recorded = _recorded(folder, key)
    if recorded is not None and may_have_meant(path, recorded):
        return recorded
    if key != "run.resume" and Path(found).resolve().is_relative_to(folder.path.resolve()):
        raise ConfigError(
            f"{key}={path}: the newest run is this one by now; give the run that is meant by its name"
        )
    return found


def _recorded(folder: RunFolder, key: str) -> str | None:
    """What the config.yaml of a run that goes on has under a key; None where there is none that can be read."""
    section, _, name = key.partition(".")
    try:
        return str(read_settings(folder.path)[section][name] or "") or None
    except UNREADABLE:
        return None


def find_start(
    cfg: Config, folder: RunFolder, inputs: TrainingInputs, models: dict[str, dict[str, str]]
) -> tuple[Path | None, TrainingState, list[str]]:
    """The checkpoint to resume from, if any, the state to begin with, and what there is to say about it.

    `models` are the `rlvr.data.models.identity.identities` of the run.

    Raises:
        ConfigError: the run is finished, has lost its checkpoints, or cannot go on with this configuration, these
            weights or this data.
        CheckpointError: the checkpoint is damaged.
    """
    data_now = inputs.seen
    checkpoint = find_checkpoint(folder, cfg.run.resume)
    if checkpoint is None:
        if cfg.run.resume == "auto":
            _refuse_lost_checkpoints(folder)
        _check_replay(cfg, folder, first=1)
        fresh = TrainingState(0, 0, 0, 0.0, 0.0, {}, data_now, compared_steps=0, models=models)
        return None, fresh, []
    start = load_state(checkpoint, cfg, FoundInputs(models, data_now))
    _check_replay(cfg, folder, first=start.step + 1)
    notes = check_weights(checkpoint, start.models, models, cfg)
    notes += check_data(checkpoint, start.data, data_now, cfg)
    if cfg.run.resume == "auto":
        notes += [
            f"WARNING {path} is the checkpoint of step {step} under another name, and the run goes on from step "
            f"{start.step}; call it {step_name(step)} to go on from there"
            for path, step in renamed_after(folder.checkpoints, start.step).items()
        ]
    if start.step > cfg.steps or (start.step == cfg.steps and _finished(folder)):
        raise ConfigError(
            f"steps={cfg.steps}: the checkpoint {checkpoint} already has {start.step} steps; raise steps"
        )
    return checkpoint, replace(start, data=data_now, models=models), notes


def _finished(folder: RunFolder) -> bool:
    """Whether nothing is left to do; a summary that cannot be read is written anew."""
    try:
        return folder.summary.exists() and finished_steps(folder.summary) >= 0
    except DataError:
        return False


def _refuse_lost_checkpoints(folder: RunFolder) -> None:
    """Refuse to begin again at step 1 where a run has had checkpoints, or has finished.

    Raises:
        ConfigError: says what shows it.
    """
    if shown := _shows_checkpoints(folder):
        raise ConfigError(
            f"run.resume=auto: {folder.path} {shown}, but has no checkpoint to go on from: it would begin again "
            f"at step 1. Put its checkpoints back as {folder.checkpoints}/step_<number>, or choose another run.name; "
            "to begin again under this one, move the folder away."
        )


def _shows_checkpoints(folder: RunFolder) -> str:
    """What shows that there have been checkpoints; empty where a run may have ended before its first."""
    if folder.summary.exists():
        return f"has finished ({folder.summary.name})"
    if folder.policy.exists():
        return "has exported its policy"
    if copies := sorted(path.name for path in folder.checkpoints.glob("[!.]*") if "step_" in path.name):
        return f"has {copies[-1]} in {folder.checkpoints.name}"
    try:
        every = int(read_settings(folder.path)["run"]["save_every"])
    except UNREADABLE:
        return ""  # not known; what is there is put aside, not lost
    steps = [row["step"] for row in folder.read_metrics()]
    reached = max([*steps, *folder.dumped_steps().values()], default=0)
    if every and reached > every:  # that of step `every` may have failed
        return f"has recorded step {reached}, with a checkpoint every {every} steps"
    return ""


def take_folder(
    cfg: Config, folder: RunFolder, checkpoint: Path | None, step: int
) -> tuple[tuple[ChangedSetting, ...], bool]:
    """Make the folder this run's, and put aside or drop what it writes again after `step`.

    Returns the changes of settings on the way, and whether the run goes on just after all that it has recorded.

    Raises:
        ConfigError: it holds another run, or another process is writing to it.
        RlvrError: it cannot be written.
    """
    folder.create(cfg)
    changes = () if checkpoint is None else changes_until(checkpoint, cfg)
    reopen(folder, step)
    if checkpoint is None:  # of an attempt that ended before its first one
        begin_again(folder)
    folder.write_changes(changes)
    set_aside_later(folder, step)
    last = checkpoint is not None and step == cfg.steps  # ended after it: its evaluation is made again
    return changes, not rewind(folder, step, evaluates=last) and checkpoint is not None


def _check_replay(cfg: Config, folder: RunFolder, *, first: int) -> None:
    if cfg.rollout.replay is None:
        return
    run = path_of(cfg.rollout.replay, "rollout.replay")
    if run.resolve() == folder.path.resolve():
        raise ConfigError(
            f"rollout.replay={run}: is this run's own folder, whose samples it would replace; choose another run.name"
        )
    Recorded(run).check(first, cfg.steps)


def settle_cores(cfg: Config, checkpoint: Path | None) -> tuple[Config, str]:
    """The configuration with `cluster.cpus` set, and the reason for its value.

    A resumed run keeps the number of its checkpoint: the order of floating-point sums depends on it.
    """
    if cfg.cluster.cpus is not None:
        return cfg, f"cores: {cfg.cluster.cpus} (cluster.cpus)"
    if checkpoint is not None:
        idle = int(read_settings(checkpoint)["cluster"]["cpus"])
        reason = f"cores: {idle}, as in the checkpoint"
    else:
        idle, cores = idle_cores()
        reason = f"cores: {idle} of {cores}" + (", the others are busy" if idle < cores else "")
    return replace(cfg, cluster=replace(cfg.cluster, cpus=idle)), f"{reason} (set cluster.cpus to choose)"
