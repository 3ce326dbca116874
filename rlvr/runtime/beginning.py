"""Where a run begins: after which checkpoint, and on how many cores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from omegaconf import OmegaConf

from rlvr.cluster.machine import idle_cores
from rlvr.config import Config
from rlvr.errors import ConfigError
from rlvr.runtime.checkpoint import TrainingState, find_checkpoint, load_state
from rlvr.runtime.folder import RunFolder
from rlvr.runtime.inputs import TrainingInputs
from rlvr.runtime.replay import Recorded
from rlvr.runtime.resume import check_data


def find_start(
    cfg: Config, folder: RunFolder, inputs: TrainingInputs
) -> tuple[Path | None, TrainingState, list[str]]:
    """The checkpoint to resume from, if any, the state to begin with, and what there is to say about it."""
    data_now = inputs.seen
    checkpoint = find_checkpoint(folder, cfg.run.resume)
    if checkpoint is None:
        _check_replay(cfg, folder, first=1)
        return None, TrainingState(0, 0, 0, 0.0, 0.0, {}, data_now, compared_steps=0), []
    start = load_state(checkpoint, cfg)
    _check_replay(cfg, folder, first=start.step + 1)
    notes = check_data(checkpoint, start.data, data_now, cfg)
    finished = (folder.path / "summary.json").exists() and start.step == cfg.steps
    if start.step > cfg.steps or finished:
        raise ConfigError(
            f"steps={cfg.steps}: the checkpoint {checkpoint} already has {start.step} steps; raise steps"
        )
    return checkpoint, replace(start, data=data_now), notes


def _check_replay(cfg: Config, folder: RunFolder, *, first: int) -> None:
    if cfg.rollout.replay is None:
        return
    run = Path(cfg.rollout.replay)
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
        idle = int(OmegaConf.load(checkpoint / "config.yaml").cluster.cpus)
        reason = f"cores: {idle}, as in the checkpoint"
    else:
        idle, cores = idle_cores()
        reason = f"cores: {idle} of {cores}" + (", the others are busy" if idle < cores else "")
    return replace(cfg, cluster=replace(cfg.cluster, cpus=idle)), f"{reason} (set cluster.cpus to choose)"
