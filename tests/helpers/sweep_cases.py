"""Folders of a sweep in the formats of training, from made-up numbers."""

from __future__ import annotations

import functools
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from rlvr.analysis.sweep.runs import FinishedRun, Metrics
from rlvr.config import Config
from rlvr.runtime.disk.folder import RunFolder
from rlvr.runtime.disk.summary import Summary

PROBLEMS, SAMPLES, STEPS = 10, 2, 10
MARKS = ("mean", "p50", "p90", "p95", "p99")
WEIGHT_MARKS = (*MARKS, "p1", "p5", "p10")


def make_run(
    folder: Path,
    condition: str,
    seed: int,
    right: dict[str, int],
    *,
    finished: bool = True,
    steps: int = STEPS,
    js: float | None = 0.01,
    settings: tuple[str, ...] = (),
) -> Path:
    """A run folder whose first `right` of ten problems are answered correctly, twice each, on every set.

    The metrics are straight lines: accuracy from 0.1, and js_base `js` times the step and the rank of the mark.
    """
    name = f"{condition}_seed-{seed}"
    run = RunFolder(folder, name)
    (run.path / "samples").mkdir(parents=True)
    of_seed = re.sub(r"(?m)^seed: .*$", f"seed: {seed}", config_text(condition, steps, settings))
    (run.path / "config.yaml").write_text(of_seed)
    run.append_metrics({"step": 0, "kind": "eval", **{f"eval/{s}/accuracy": 0.1 for s in right}})
    for step in range(1, steps + 1):
        run.append_metrics({"step": step, "kind": "train", **train_row(step, js, seed)})
        if step % 5 == 0:
            share = {s: 0.1 + (n / PROBLEMS - 0.1) * step / steps for s, n in right.items()}
            run.append_metrics(
                {"step": step, "kind": "eval", **{f"eval/{s}/accuracy": a for s, a in share.items()}}
            )
    rows = [
        {
            "sample_id": f"eval-{s}/{s}/{i}/{k}",
            "problem_id": f"{s}/{i}",
            "source": "made_up",
            "verdict": "correct" if i < n else "wrong",
        }
        for s, n in right.items()
        for i in range(PROBLEMS)
        for k in range(SAMPLES)
    ]
    (run.path / "samples" / f"eval_{steps:06d}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    if finished:
        run.write_summary(summary(run, condition, seed, steps, right))
    return run.path


@functools.cache
def config_text(condition: str, steps: int, settings: tuple[str, ...]) -> str:
    """The configuration of a condition, made once: that takes longer than the rest of a run."""
    whole = OmegaConf.structured(Config(recipe=condition, steps=steps))
    return OmegaConf.to_yaml(OmegaConf.merge(whole, OmegaConf.from_dotlist(list(settings))))


def train_row(step: int, js: float | None, seed: int) -> dict[str, Any]:
    """The metrics of one step."""
    row: dict[str, Any] = {
        "accuracy": round(0.1 + 0.01 * step + 0.001 * seed, 3),
        "reward/mean": 0.02 * step,
        "length/mean": 20.0 + seed,
    }
    row |= {f"entropy/{mark}": 0.5 for mark in MARKS} | {f"token_weight/{mark}": 1.0 for mark in WEIGHT_MARKS}
    row |= {"token_weight/gini": 0.25, "token_weight/effective": 0.75}
    row |= {f"gradient/top{percent}": 0.5 + 0.01 * percent for percent in (1, 5, 20)}
    if js is not None:
        row |= {f"js_base/{mark}": js * step * rank for rank, mark in enumerate(MARKS, start=1)}
    return row


def summary(run: RunFolder, condition: str, seed: int, steps: int, right: dict[str, int]) -> Summary:
    """What a finished run leaves: 100 s of training and 1000 tokens for each number of its seed."""
    sets = {
        s: {"before": 0.1, "after": n / PROBLEMS, "ci_low": 0.0, "ci_high": 1.0} for s, n in right.items()
    }
    return Summary(
        recipe=condition,
        model="builtin",
        data="arithmetic",
        seed=seed,
        steps=steps,
        eval_accuracy_before=0.1,
        eval_accuracy_after=next(iter(sets.values()))["after"],
        eval_accuracy_ci95=(0.0, 1.0),
        eval_sets=sets,
        train_seconds=100.0 * seed,
        setup_seconds=20.0,
        tokens_generated=1000 * seed,
        max_logprob_mismatch=1e-7,
        resumed_from=None,
        versions={"rlvr": "0.1.0", "torch": "2.13.0"},
        folder=str(run.path),
    )


def run_record(
    condition: str,
    seed: int = 1,
    *,
    steps: int = 1,
    train: Metrics | None = None,
    **sets: dict[str, list[bool]],
) -> FinishedRun:
    """A run that was evaluated on these sets, by problem the samples that were right; without files."""
    accuracy = {name: float(np.mean([np.mean(row) for row in rows.values()])) for name, rows in sets.items()}
    return FinishedRun(
        name=f"{condition}_seed-{seed}",
        condition=condition,
        summary=replace(
            summary(RunFolder(Path(), condition), condition, seed, steps, dict.fromkeys(sets or ["none"], 0)),
            versions={},
            train_seconds=1.0,
            setup_seconds=1.0,
            tokens_generated=1,
        ),
        accuracy=accuracy,
        correct=sets,
        train=train or {},
        evals={},
        settings={},
    )


def make_sweep(folder: Path) -> Path:
    """DAPO, one condition that is better in every seed, one that is not told apart; four seeds each."""
    for seed, (base, high, other) in enumerate([(3, 5, 3), (4, 7, 5), (3, 5, 3), (4, 6, 3)], start=1):
        for condition, right in (("dapo", base), ("dapo_high", high), ("dapo_other", other)):
            make_run(folder, f"recipe-{condition}", seed, {"aime24": right})
    (folder / "latest").symlink_to("recipe-dapo_seed-1")
    return folder
