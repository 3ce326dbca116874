"""What is left of a finished run in one small file: `summary.json`."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlvr.errors import DataError

SUMMARY = "summary.json"


@dataclass(frozen=True, slots=True)
class Change:
    """A setting that a run was resumed with another value of."""

    step: int  # the last with the old value
    key: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.key} {self.old} -> {self.new} after step {self.step}"


@dataclass(frozen=True, slots=True)
class Summary:
    """What a finished run is remembered by; written as summary.json."""

    recipe: str
    model: str
    data: str
    seed: int
    steps: int
    eval_accuracy_before: float
    eval_accuracy_after: float
    eval_accuracy_ci95: tuple[float, float]  # of the accuracy after, clustered by problem
    eval_sets: dict[str, dict[str, float]]  # per set: before, after, ci_low, ci_high
    train_seconds: float  # the training loop, evaluation and checkpoints included
    setup_seconds: float  # from the start of the process to the first step
    tokens_generated: int  # sampled for training
    max_logprob_mismatch: float | None  # largest step mean of |rollout - learner|; None: none compared
    resumed_from: str | None
    versions: dict[str, str]
    folder: str
    mismatch_compared_steps: int | None = None  # None: resumed from before they were counted
    changes: tuple[Change, ...] = ()  # of settings, on the way
    # model.path and model.base_path, each with what tells its model from others; empty: of before that was kept
    models: dict[str, dict[str, str]] = field(default_factory=dict)


def finished_steps(summary: Path) -> int:
    """After how many steps a run has finished, by its summary.json.

    Raises:
        DataError: the file is damaged, or is none.
    """
    try:
        steps = json.loads(summary.read_bytes().decode())["steps"]
        if type(steps) is not int:
            raise ValueError(f"its steps are {steps!r}")
    except (OSError, ValueError, TypeError, KeyError) as error:  # a file on disk may have been damaged
        raise DataError(
            f"{summary}: not the summary of a finished run ({type(error).__name__}: {error}); put it back, or move it "
            "away: the run then counts as unfinished, and run.resume=auto writes it anew"
        ) from error
    return steps
