"""What `run=FOLDER` stands for, and which models an analysis compares."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from rlvr.analysis.config import AnalyzeConfig
from rlvr.analysis.run_inputs import POLICY, read_run
from rlvr.data.tokenizer import model_folder
from rlvr.errors import ConfigError
from rlvr.runtime.dumps import dump_files, dump_name

SHARED_SECTIONS = ("model", "data", "rollout", "reward", "eval", "cluster")
FINAL = POLICY  # label of the last policy


@dataclass(frozen=True, slots=True)
class PolicyToScore:
    """One policy: the final one, or an earlier checkpoint."""

    label: str  # value of the column `checkpoint`
    path: str


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
    folder = trained.folder
    sections = {name: OmegaConf.structured(getattr(trained.cfg, name)) for name in SHARED_SECTIONS}
    merged = OmegaConf.merge(OmegaConf.structured(AnalyzeConfig), sections)
    cfg = OmegaConf.to_object(merged)
    assert isinstance(cfg, AnalyzeConfig)
    cfg.run = str(folder)
    cfg.model.base_path = trained.base
    cfg.checkpoints = [str(path) for path in _checkpoints(folder)]
    if trained.policy is not None:
        cfg.model.path = str(trained.policy)
    elif cfg.checkpoints:
        cfg.model.path = cfg.checkpoints.pop()
    else:
        raise ConfigError(
            f"run={run}: {folder} has neither a policy folder nor a checkpoint; let it train on"
        )
    evaluations = dump_files(folder / "samples", "eval_*")
    cfg.responses = [str(path) for path in evaluations[1:][-1:]]
    if trained.base == trained.started_from:  # the untrained policy is the base
        cfg.base_responses = [str(path) for path in evaluations[:1] if dump_name(path) == "eval_000000"]
    cfg.output = str(folder / "analysis")
    return cfg


def _checkpoints(folder: Path) -> list[Path]:
    """The run's checkpoints, oldest first, without the one that is the exported policy."""
    found = sorted(p for p in (folder / "checkpoints").glob("step_*") if (p / "state.json").is_file())
    summary = folder / "summary.json"
    last = json.loads(summary.read_text())["steps"] if summary.is_file() else None
    exported = [p / FINAL if (p / FINAL / "config.json").is_file() else p for p in found]
    return [e for p, e in zip(found, exported, strict=True) if int(p.name.removeprefix("step_")) != last]


def policies(cfg: AnalyzeConfig) -> list[PolicyToScore]:
    """The checkpoints, oldest first, and the policy.

    Raises:
        ConfigError: two of them have the same name.
    """
    named = []
    for path in cfg.checkpoints:
        folder = Path(path)
        named.append(PolicyToScore(folder.parent.name if folder.name == FINAL else folder.name, path))
    named.append(PolicyToScore(FINAL, cfg.model.path))
    labels = [p.label for p in named]
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        raise ConfigError(
            f"checkpoints: {', '.join(twice)} more than once; the last part of each path is its name in the "
            "tables, so give folders with different names"
        )
    return named


def identity(path: str) -> dict[str, Any]:
    """What tells a model from another one at the same place: path, weight files, their sizes and dates."""
    folder = Path(model_folder(path, checkpoint=True))
    if not folder.is_dir():
        return {"model": path}
    files = [p for p in sorted(folder.rglob("*")) if p.suffix in (".safetensors", ".bin", ".pt")]
    stats = [(str(p.relative_to(folder)), p.stat().st_size, p.stat().st_mtime_ns) for p in files]
    return {"model": str(folder.resolve()), "weights": [list(s) for s in stats]}
