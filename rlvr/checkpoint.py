"""Checkpoints: written whole or not at all, the last k kept, and found again by `resume`.

A checkpoint is a folder `step_000020` with `state.json` (the driver's state), `config.yaml`, and
`deepspeed/` (parameters, optimiser moments and RNG of every rank). It is built under a name that starts with
a dot and renamed when complete, so every folder called step_* can be resumed from. On several nodes the run
folder must lie on a shared file system.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from rlvr.advantage.token.registry import PLUGINS
from rlvr.config import Config
from rlvr.errors import CheckpointError, ConfigError
from rlvr.run import RunFolder, set_aside, write_atomically

# Keys that may differ between a checkpoint and the run that resumes from it: they do not change what is
# computed, or only for how long (steps), in how much memory or in which order sums are taken.
FREE_KEYS = (
    "steps",
    "run.",
    "tracking.",
    "eval.every",
    "cluster.",
    "reward.workers",
    "reward.deadline_seconds",
    "reward.memory_mb",
    "reward.max_failed",
    "rollout.deadline_seconds",
    "rollout.start_deadline_seconds",
    "rollout.memory_utilization",
    "rollout.kv_cache_mb",
    "rollout.max_concurrent",
    "learner.deadline_seconds",
    "learner.start_deadline_seconds",
    "learner.tokens_per_micro_batch",
    "model.gradient_checkpointing",
    "sync.",
)
# Keys that a run may resume with although they do change what is computed, for they are what mends it.
REMEDIES = ("rollout.max_rounds",)


@dataclass(frozen=True, slots=True)
class TrainingState:
    """The driver's part of a checkpoint."""

    step: int  # steps done
    data_position: int  # prompts drawn from the training stream
    tokens_generated: int
    max_logprob_mismatch: float
    train_seconds: float
    eval_before: dict[str, float]  # accuracy per set before training
    compared_steps: int | None = None  # steps at which the gate had log-probs to compare; None: not counted


def step_name(step: int) -> str:
    """Folder name of a step; sorts by step."""
    return f"step_{step:06d}"


def save_checkpoint(
    folder: RunFolder,
    state: TrainingState,
    cfg: Config,
    save_learner: Callable[[str], None],
) -> Path:
    """Write a checkpoint and drop those before it beyond run.keep_last.

    Raises:
        CheckpointError: it could not be written (a full disk, say); earlier checkpoints are untouched.
    """
    final = folder.checkpoints / step_name(state.step)
    draft = folder.checkpoints / f".{final.name}.draft"
    try:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        save_learner(str(draft.absolute()))  # its ranks may run in another folder
        write_atomically(draft / "config.yaml", OmegaConf.to_yaml(OmegaConf.structured(cfg)))
        write_atomically(draft / "state.json", json.dumps(asdict(state), indent=2))
        _sync_tree(draft)
        shutil.rmtree(final, ignore_errors=True)
        os.replace(draft, final)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        raise CheckpointError(
            f"checkpoint of step {state.step} at {final}: not written ({error}). Earlier checkpoints are "
            "intact; free some space or set run.root elsewhere, then continue with run.resume=auto."
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    # Later ones may lie there where a run was resumed from an older checkpoint.
    until_now = [p for p in list_checkpoints(folder) if p.name <= final.name]
    for old in until_now[: -cfg.run.keep_last]:
        _drop(old)
    return final


def _drop(path: Path) -> None:
    """Delete a checkpoint; what a network file system still holds on to is no reason to end a run."""
    doomed = path.with_name(f".{path.name}.old")
    shutil.rmtree(doomed, ignore_errors=True)
    with suppress(OSError):
        os.replace(path, doomed)  # at once no checkpoint any more, however long the rest takes
    shutil.rmtree(doomed, ignore_errors=True)


def _sync_tree(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def list_checkpoints(folder: RunFolder) -> list[Path]:
    """Complete checkpoints, oldest first."""
    return sorted(p for p in folder.checkpoints.glob("step_*") if (p / "state.json").exists())


def set_aside_later(folder: RunFolder, step: int) -> None:
    """Rename checkpoints after `step`: a run that goes on from an earlier one leaves their course.

    Raises:
        RlvrError: one cannot be renamed; none is lost.
    """
    with folder.writing():
        for path in list_checkpoints(folder):
            if int(path.name.removeprefix("step_")) > step:
                set_aside(path)


def find_checkpoint(folder: RunFolder, resume: str) -> Path | None:
    """The checkpoint that `run.resume` means, or None to start afresh.

    Raises:
        ConfigError: a named checkpoint does not exist or is not one.
    """
    if resume == "never":
        return None
    if resume == "auto":
        found = list_checkpoints(folder)
        return found[-1] if found else None
    path = Path(resume)
    if not (path / "state.json").exists():
        raise ConfigError(
            f"run.resume={resume}: no checkpoint there (no state.json). Give a folder like "
            "runs/<name>/checkpoints/step_000020, or auto, or never."
        )
    return path


def load_state(path: Path, cfg: Config) -> TrainingState:
    """The driver's state of a checkpoint, after checking that the configuration still is the same.

    Raises:
        ConfigError: a key that matters has changed since the checkpoint.
        CheckpointError: the checkpoint cannot be read.
    """
    try:
        saved = OmegaConf.to_container(OmegaConf.load(path / "config.yaml"))
        state = TrainingState(**json.loads((path / "state.json").read_text()))
        if not isinstance(saved, dict) or not saved:
            raise ValueError("config.yaml holds no configuration")
    except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
        raise CheckpointError(f"checkpoint {path}: cannot be read ({error})") from error
    now = OmegaConf.to_container(OmegaConf.structured(cfg))
    # What depends on the share of the run that is done would take another course with more steps.
    own_plugin = cfg.advantage.token not in PLUGINS  # may read the progress
    scheduled = (
        own_plugin or cfg.learner.schedule != "constant" or cfg.advantage.options.get("alpha_end") is not None
    )
    free = tuple(key for key in FREE_KEYS if not (scheduled and key == "steps"))
    changed = [
        f"{key} was {old!r}, is {new!r}"
        for key, old, new in differences(saved, now)
        if not key.startswith(free + REMEDIES)
    ]
    if changed:
        raise ConfigError(
            f"resuming from {path} with another configuration: {'; '.join(changed)}. Put these back, or start a "
            "new run from the exported policy (model.path=<run>/policy)."
        )
    return state


def differences(old: Any, new: Any, prefix: str = "") -> list[tuple[str, Any, Any]]:
    """(dotted key, old value, new value) of every leaf in which two nested dictionaries differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(set(old) | set(new))
        return [d for k in keys for d in differences(old.get(k), new.get(k), f"{prefix}{k}.")]
    return [] if old == new else [(prefix.rstrip("."), old, new)]
