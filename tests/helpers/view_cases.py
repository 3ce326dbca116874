"""A run of the built-in model whose responses can go on otherwise: a real policy, a real analysis."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np

from rlvr.analyze import analyze
from rlvr.cli.analyze_arguments import load
from rlvr.config import Config
from rlvr.data.tasks.arithmetic import held_out, step_by_step
from rlvr.reward.verdict import Outcome, Verdict
from rlvr.runtime.disk.folder import RunFolder
from rlvr.types import Group, Prompt, Sample, Span
from tests.helpers.cross_cases import TOKENIZER, save_policy

PROBLEMS, STEPS = 4, 9


def training_run(root: Path) -> Path:
    """A run's folder while the run still trains: two steps, the evaluation before them, no policy yet."""
    cfg = Config(recipe="made_up", steps=STEPS)
    cfg.data.eval[0].limit = PROBLEMS
    folder = RunFolder(root, "mine")
    folder.create(cfg)
    for step in (1, 2):
        folder.append_metrics({"step": step, "kind": "train", "accuracy": 0.25 * step, "reward/mean": 0.5})
    folder.dump_samples("eval_000000", _groups(["so \\boxed{0}"] * PROBLEMS, right=False))
    folder.dump_samples("step_000002", _groups(["so \\boxed{0}"] * PROBLEMS, right=False))
    return folder.path


def analysed_run(root: Path) -> Path:
    """The same run once it has ended, with an analysis of a wrong and a right response to each problem."""
    folder = training_run(root)
    save_policy(folder / "policy")
    worked = [step_by_step(problem, random.Random(0)) for problem in held_out(PROBLEMS)]
    RunFolder(root, "mine").dump_samples(f"eval_{STEPS:06d}", _groups(worked, right=True))
    analyze(load([f"run={folder}"]))
    return folder


def _groups(texts: list[str], *, right: bool) -> list[Group]:
    """One response to each held-out problem, with its verdict."""
    groups = []
    for problem, text in zip(held_out(PROBLEMS), texts, strict=True):
        ids = (*TOKENIZER(text).input_ids, TOKENIZER.eos_token_id)
        sample = Sample(
            id=f"0/{problem.id}/0",
            token_ids=ids,
            logprobs=np.zeros(len(ids), dtype=np.float32),
            text=text,
            truncated=False,
            spans=(Span(0, 0),),
            verdict=Verdict("0", Outcome.CORRECT if right else Outcome.WRONG, None, None, 0.0),
            reward=1.0 if right else -1.0,
        )
        groups.append(Group(Prompt(problem, tuple(TOKENIZER(problem.question).input_ids)), (sample,)))
    return groups
