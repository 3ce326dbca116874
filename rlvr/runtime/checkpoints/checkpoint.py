"""Checkpoints: written whole or not at all, the last k kept, and found again by `resume`.

A checkpoint is a folder `step_000020` with `state.json` (the driver's state), `config.yaml`, `deepspeed/` (parameters,
optimiser moments and RNG of every rank), `changes.jsonl` where settings were changed on the way, and `manifest.json`.
It is built under a name that starts with a dot and renamed when complete, so every folder called step_<number> can
be resumed from, unless its manifest says that it has been damaged since. On several nodes the run folder must lie on a
shared file system.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rlvr.config import Config
from rlvr.data.fingerprint import DataSeen, data_seen
from rlvr.errors import CheckpointError, ConfigError
from rlvr.runtime.checkpoints.resume import FoundInputs, moved, recorded_changes, refuse_changes
from rlvr.runtime.disk.checkpoint_folders import STATE, checkpoints_in, step_name, step_of, was_complete
from rlvr.runtime.disk.files import path_of, replacing_folder, set_aside, write_atomically
from rlvr.runtime.disk.folder import CHANGES, RunFolder, read_changes
from rlvr.runtime.disk.manifest import damage, write_manifest
from rlvr.runtime.disk.settings import CONFIG_FILE, UNREADABLE, as_yaml, read_settings
from rlvr.runtime.disk.summary import ChangedSetting
from rlvr.types import Successes


@dataclass(frozen=True, slots=True)
class TrainingState:
    """The driver's part of a checkpoint."""

    step: int  # steps done
    data_position: int  # prompts drawn from the training stream
    tokens_generated: int
    max_logprob_mismatch: float
    train_seconds: float
    eval_before: dict[str, float]  # accuracy per set before training
    data: DataSeen | None = None  # None: of a checkpoint written before there was this field
    successes: Successes = field(default_factory=dict)  # what data.sampler goes by; empty for uniform
    pending: tuple[int, ...] = ()  # prompts drawn before `data_position` whose groups are in no batch yet
    compared_steps: int | None = None  # steps at which the gate had log-probs to compare; None: not counted
    readings: tuple[int, ...] = ()  # steps after which evaluations were asked for that are not done yet
    # `rlvr.data.models.identity` of what model.path and model.base_path name; empty: not known
    models: dict[str, dict[str, str]] = field(default_factory=dict)


def save_checkpoint(
    folder: RunFolder,
    state: TrainingState,
    cfg: Config,
    save_learner: Callable[[str], None],
) -> Path:
    """Write a checkpoint and drop those before it beyond run.keep_last.

    Raises:
        CheckpointError: it could not be written (a full disk, say); earlier checkpoints are untouched.
        RlvrError: the run folder has been removed or moved.
    """
    folder.check_ours()
    folder.finish_dumps()  # a run that goes on from here writes no earlier samples again
    final = folder.checkpoints / step_name(state.step)
    try:
        with replacing_folder(final) as draft:
            save_learner(str(draft.absolute()))  # its ranks may run in another folder
            write_atomically(draft / CONFIG_FILE, as_yaml(cfg))
            write_atomically(draft / STATE, json.dumps(asdict(state), indent=2))
            if (folder.path / CHANGES).exists():
                shutil.copyfile(folder.path / CHANGES, draft / CHANGES)
            write_manifest(draft)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        raise CheckpointError(
            f"checkpoint of step {state.step} at {final}: not written ({error}). Earlier checkpoints are "
            "intact; free some space or set run.root elsewhere, then continue with run.resume=auto."
        ) from error
    folder.covered(state.data_position, state.pending)
    # Later ones may lie there where a run was resumed from an older checkpoint.
    until_now = [p for p, step in checkpoints_in(folder.checkpoints).items() if step <= state.step]
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


def list_checkpoints(folder: RunFolder) -> list[Path]:
    """Checkpoints that were complete once, oldest first."""
    return [*checkpoints_in(folder.checkpoints)]


def damaged(path: Path, why: str) -> CheckpointError:
    """The error of a checkpoint that cannot be used, whoever reads it; names the newest intact one before it."""
    own = step_of(path)  # None of a copy under a name of its own
    siblings = checkpoints_in(path.parent).items()
    earlier = [p for p, step in siblings if (own is None or step < own) and not defect(p)]
    if not earlier:
        return CheckpointError(
            f"checkpoint {path}: cannot be read ({why}). There is no intact one before it: put its files back, or "
            "start again under another run.name."
        )
    return CheckpointError(
        f"checkpoint {path}: cannot be read ({why}). The one before it is intact: name that one, {earlier[-1]}; a run "
        f"goes on from there with run.resume={earlier[-1]}, or with run.resume=auto once the damaged folder is removed."
    )


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a checkpoint holds beside the learner's part."""

    path: Path
    settings: dict[Any, Any]  # of config.yaml
    state: TrainingState
    changes: tuple[ChangedSetting, ...]  # of settings, until then


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint after checking all its files, the learner's among them.

    Raises:
        CheckpointError: one is damaged; names the newest intact checkpoint before it.
    """
    try:
        return _read_whole(path)
    except UNREADABLE as error:  # a damaged file
        raise damaged(path, _words(error)) from error


def defect(path: Path) -> str:
    """What is known against a checkpoint before its weights are loaded; empty if nothing is."""
    try:
        _read_whole(path)
    except UNREADABLE as error:  # a damaged file
        return _words(error)
    return ""


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__


def _read_whole(path: Path) -> Checkpoint:
    if found := damage(path):
        raise ValueError(found)
    return _read(path)


def _read(path: Path) -> Checkpoint:
    """What its small files hold; raises for whatever they are not."""
    settings = read_settings(path)
    content = json.loads((path / STATE).read_text())
    if not isinstance(content, dict):
        raise ValueError("state.json holds no state")
    return Checkpoint(path, settings, state_from(content), read_changes(path / CHANGES))


def state_from(content: dict[str, Any]) -> TrainingState:
    """The state of which `content` is `asdict`, as JSON gave it back; raises for what is none."""
    if content.get("data") is not None:
        content["data"] = data_seen(content["data"])
    successes = content.get("successes", {})
    content["successes"] = {name: (float(right), float(tried)) for name, (right, tried) in successes.items()}
    content["pending"] = tuple(content.get("pending", ()))
    content["readings"] = tuple(content.get("readings", ()))
    return TrainingState(**content)


def restore(path: Path, load_learner: Callable[[str], None]) -> None:
    """Have the learner take up its part of a checkpoint.

    Raises:
        CheckpointError: it cannot be loaded; names the intact checkpoint before it.
    """
    try:
        load_learner(str(path.absolute()))
    except CheckpointError as error:
        raise damaged(path, str(error)) from error


def set_aside_later(folder: RunFolder, step: int) -> None:
    """Rename checkpoints after `step`: a run that goes on from an earlier one leaves their course.

    Raises:
        RlvrError: one cannot be renamed; none is lost.
    """
    with folder.writing():
        for path, done in checkpoints_in(folder.checkpoints).items():
            if done > step:
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
    path = path_of(resume, "run.resume")
    if not was_complete(path):
        raise ConfigError(
            f"run.resume={resume}: no checkpoint there (no state.json). Give a folder like "
            "runs/<name>/checkpoints/step_000020, or auto, or never."
        )
    return path


def load_state(path: Path, cfg: Config, now: FoundInputs | None = None) -> TrainingState:
    """The driver's state of a checkpoint, after checking that it is whole and the configuration still is the same.

    `now` is what lies at the places that the configuration names: what has only moved may lie elsewhere.

    Raises:
        ConfigError: a key that matters has changed since the checkpoint.
        CheckpointError: the checkpoint cannot be read.
    """
    found = read_checkpoint(path)
    before = FoundInputs(found.state.models, found.state.data)
    elsewhere = frozenset() if now is None else moved(cfg, before, now)
    refuse_changes(path, found.settings, cfg, elsewhere)
    return found.state


def changes_until(path: Path, cfg: Config) -> tuple[ChangedSetting, ...]:
    """The changes of settings on the way to a checkpoint, and those with which the run now goes on from it."""
    found = _read(path)
    now = recorded_changes(found.settings, cfg)
    return (*found.changes, *(ChangedSetting(found.state.step, key, old, new) for key, old, new in now))
