"""Checkpoints of a learner that writes a few bytes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rlvr.config import Config
from rlvr.data.fingerprint import DataSeen, Fingerprint
from rlvr.runtime.checkpoints.checkpoint import TrainingState, save_checkpoint
from rlvr.runtime.disk.folder import RunFolder

SEEN = DataSeen(Fingerprint(12, "a", "b", "c"), {"held out": Fingerprint(3, "d", "e", "f")})
MODELS = {"model.path": {"model.safetensors": "100-abc"}}
STATE = TrainingState(10, 160, 12345, 0.25, 61.5, {"held out": 0.125}, SEEN, models=MODELS)


def learner(folder: str) -> None:
    """Writes what a learner would."""
    (Path(folder) / "deepspeed").mkdir()
    (Path(folder) / "deepspeed" / "weights.pt").write_bytes(b"weights")


def save(folder: RunFolder, cfg: Config, step: int, save_learner=learner) -> Path:
    """A checkpoint of this step."""
    return save_checkpoint(folder, replace(STATE, step=step), cfg, save_learner)


def names(folder: RunFolder) -> list[str]:
    """Everything in the folder of checkpoints, hidden files too."""
    return sorted(p.name for p in folder.checkpoints.iterdir())
