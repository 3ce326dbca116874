"""What is left of a finished run in one small file: `summary.json`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from rlvr.errors import DataError

SUMMARY = "summary.json"
OF_SET = ("before", "after", "ci_low", "ci_high")  # of the accuracy on an evaluation set


@dataclass(frozen=True, slots=True)
class ChangedSetting:
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
    eval_sets: dict[str, dict[str, float]]  # per set: those of OF_SET
    train_seconds: float  # the training loop, evaluation and checkpoints included
    setup_seconds: float  # from the start of the process to the first step
    tokens_generated: int  # sampled for training
    max_logprob_mismatch: float | None  # largest step mean of |rollout - learner|; None: none compared
    resumed_from: str | None
    versions: dict[str, str]
    folder: str
    mismatch_compared_steps: int | None = None  # None: resumed from before they were counted
    changes: tuple[ChangedSetting, ...] = ()  # of settings, on the way
    # model.path and model.base_path, each with what tells its model from others; empty: of before that was kept
    models: dict[str, dict[str, str]] = field(default_factory=dict)


def finished_steps(summary: Path) -> int:
    """After how many steps a run has finished, by its summary.json.

    Raises:
        DataError: the file is damaged, or is none.
    """
    with _reading(summary, "a finished run"):
        steps = json.loads(summary.read_bytes().decode())["steps"]
        if type(steps) is not int:
            raise ValueError(f"its steps are {steps!r}")
    return steps


def read_summary(file: Path) -> Summary:
    """The summary of a finished run.

    Raises:
        DataError: the file is damaged, or is no summary of this version.
    """
    with _reading(file, "a run of this version"):
        content = json.loads(file.read_bytes().decode())
        changes = tuple(ChangedSetting(**change) for change in content.pop("changes", ()))
        interval = tuple(content["eval_accuracy_ci95"])
        found = Summary(**{**content, "eval_accuracy_ci95": interval}, changes=changes)
        _check_types(found)
    return found


@contextmanager
def _reading(file: Path, of: str) -> Iterator[None]:
    """Say what to do about a summary that is none; raises DataError."""
    try:
        yield
    except (
        OSError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
    ) as error:  # damaged, or a user has touched it
        raise DataError(
            f"{file}: not the summary of {of} ({type(error).__name__}: {error}); put it back, or move it away: the "
            "run then counts as unfinished, and run.resume=auto writes it anew"
        ) from error


def _check_types(summary: Summary) -> None:
    for name, kind in get_type_hints(Summary).items():
        value = getattr(summary, name)
        if not _is_of(value, kind):
            raise ValueError(f"its {name} is {value!r}")
    for name, found in summary.eval_sets.items():
        if lacking := [key for key in OF_SET if key not in found]:
            raise ValueError(f"its eval_sets lack {', '.join(lacking)} of {name}")


def _is_of(value: Any, kind: Any) -> bool:
    """Whether a value read from JSON is of the kind that a field is annotated with."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is UnionType:
        return any(_is_of(value, one) for one in inner)
    if origin is dict:
        return isinstance(value, dict) and all(_is_of(one, inner[1]) for one in value.values())
    if origin is tuple and inner[1] is not Ellipsis:
        return len(value) == len(inner) and all(map(_is_of, value, inner))
    if origin is tuple:
        return all(isinstance(one, inner[0]) for one in value)
    return type(value) in ((int, float) if kind is float else (kind,))
