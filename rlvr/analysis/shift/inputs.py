"""What `run=FOLDER` stands for, and which models an analysis compares, checked without loading their weights."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from rlvr.analysis.config import AnalyzeConfig
from rlvr.analysis.models import check_same_vocabulary, read_model
from rlvr.analysis.run import POLICY, read_run
from rlvr.errors import ConfigError
from rlvr.runtime.disk.checkpoint_folders import step_of
from rlvr.runtime.disk.dumps import dump_name, dumped_step

SHARED_SECTIONS = ("model", "data", "rollout", "reward", "eval", "cluster")


@dataclass(frozen=True, slots=True)
class PolicyToScore:
    """One policy: the final one, or an earlier checkpoint."""

    label: str  # value of the column `checkpoint`; of the final one POLICY
    path: str


@dataclass(frozen=True, slots=True)
class ModelsToCompare:
    """A base, the policies that are compared with it, and what they share."""

    base: str
    policies: tuple[PolicyToScore, ...]  # checkpoints first, the policy last
    tokenizer: PreTrainedTokenizerBase
    vocabulary: int  # rows of the output head; some models have more than their tokenizer has tokens
    device: str  # cpu or cuda


def with_run(run: str | None) -> AnalyzeConfig:
    """The defaults of an analysis: those of the schema, or what a training run left behind.

    The run's policy is compared with its base on the responses of its first and last evaluation; its
    checkpoints give the evolution.

    Raises:
        ConfigError: the folder is not that of a run, or has no policy yet.
    """
    if run is None:
        return AnalyzeConfig()
    trained = read_run(run)
    cfg = AnalyzeConfig(run=str(trained.folder))
    for name in SHARED_SECTIONS:  # of its own, so that the run's stay as they are
        setattr(cfg, name, deepcopy(getattr(trained.config, name)))
    cfg.model.base_path = trained.base
    cfg.checkpoints = [str(path) for path in trained.checkpoints()]
    evaluations = trained.evaluations()
    if trained.policy is not None and not (trained.goes_on and cfg.checkpoints):
        cfg.model.path = str(trained.policy)
    elif cfg.checkpoints:
        cfg.model.path = cfg.checkpoints.pop()
        evaluations = _until(Path(cfg.model.path), evaluations)
    else:
        raise ConfigError(
            f"run={run}: {trained.folder} has neither a policy folder nor a checkpoint; let it train on"
        )
    cfg.responses = [str(path) for path in evaluations[1:][-1:]]
    if trained.base == trained.started_from:  # the untrained policy is the base
        cfg.base_responses = [str(path) for path in evaluations[:1] if dump_name(path) == "eval_000000"]
    cfg.output = str(trained.folder / "analysis")
    return cfg


def _until(checkpoint: Path, evaluations: Sequence[Path]) -> list[Path]:
    """The evaluations until a checkpoint, the policy of a run that goes on: later ones are of later weights."""
    step = step_of(checkpoint.parent if checkpoint.name == POLICY else checkpoint)
    found = {path: dumped_step(path) for path in evaluations}
    return [path for path, own in found.items() if step is None or own is None or own <= step]


def find_models(cfg: AnalyzeConfig) -> ModelsToCompare:
    """Find the models and their tokenizer.

    Raises:
        ConfigError: a model or device that is not there, or models that do not share a vocabulary.
    """
    folders = [Path(path) for path in cfg.checkpoints]
    labels = [folder.parent.name if folder.name == POLICY else folder.name for folder in folders] + [POLICY]
    if twice := sorted({label for label in labels if labels.count(label) > 1}):
        raise ConfigError(
            f"checkpoints: {', '.join(twice)} more than once; the last part of each path is its name in the "
            "tables, so give folders with different names"
        )
    paths = [*cfg.checkpoints, cfg.model.path]  # oldest first
    chosen = tuple(PolicyToScore(*pair) for pair in zip(labels, paths, strict=True))
    available, trust = torch.cuda.is_available(), cfg.model.trust_remote_code
    if cfg.score.device == "cuda" and not available:
        raise ConfigError("score.device=cuda: torch finds no CUDA device here; use score.device=cpu")
    device = "cuda" if available and cfg.score.device != "cpu" else "cpu"
    base = read_model("base", cfg.model.base_path or cfg.model.path, trust_remote_code=trust)
    for policy in chosen:
        key = "policy" if policy is chosen[-1] else "checkpoints"
        check_same_vocabulary(base, read_model(key, policy.path, trust_remote_code=trust, checkpoint=True))
    return ModelsToCompare(base.path, chosen, base.tokenizer, base.vocabulary, device)
