"""A run with a checkpoint whose weights are known, for those that export or read it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from rlvr.config import Config, LoraConfig, SourceConfig
from rlvr.data.models.identity import identities
from rlvr.data.models.tokenizer import model_folder
from rlvr.runtime.checkpoints.checkpoint import TrainingState, save_checkpoint
from rlvr.runtime.disk.folder import RunFolder

FIGURES = {"eval/held/accuracy": 0.25, "eval/held/ci_low": 0.125, "eval/held/ci_high": 0.5}


def weights(folder: str | Path) -> dict[str, torch.Tensor]:
    """Those of a folder, as transformers loads them."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).state_dict()


def run_with_checkpoint(
    root: Path,
    *,
    step: int = 4,
    model: str = "builtin",
    zero_stage: int = 0,
    lora: LoraConfig | None = None,
    trained: Mapping[str, torch.Tensor] | None = None,
) -> Path:
    """A checkpoint as a learner on one rank leaves it: those `trained`, else the base's weights, a quarter larger."""
    cfg = Config(recipe="grpo", seed=3, steps=9)
    cfg.model.path, cfg.learner.zero_stage, cfg.model.lora = model, zero_stage, lora or LoraConfig()
    cfg.data.train = SourceConfig(name="mine", path="rows.jsonl")
    folder = RunFolder(root, "mine")
    folder.create(cfg)
    for row in (0, FIGURES), (step, {**FIGURES, "eval/held/accuracy": 0.375}):
        folder.append_metrics({"step": row[0], "kind": "eval", **row[1]})

    def save_learner(target: str) -> None:
        found = trained or {name: value * 1.25 for name, value in weights(model_folder(model)).items()}
        module = {f"lm.{name}": value for name, value in found.items()}
        (Path(target) / "deepspeed").mkdir()
        torch.save({"module": module}, Path(target) / "deepspeed" / "mp_rank_00_model_states.pt")

    state = TrainingState(step, 64, 1000, 0.0, 1.0, {"held": 0.25}, models=identities(cfg.model))
    return save_checkpoint(folder, state, cfg, save_learner)
