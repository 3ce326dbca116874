"""What an evaluation leaves behind: one record per set, and the file that holds them all.

`evaluation.json` keeps every sample's correctness, length and answer, so that two evaluations can be compared
problem by problem long after both have run. `correct` is 1, 0, or null where the verifier failed: such a sample counts
in no figure but lengths and truncation.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlvr.errors import DataError
from rlvr.runtime.dumps import known_number
from rlvr.stats.accuracy import (
    Doubles,
    EvalResult,
    LengthStats,
    accuracy_ci95,
    correctness,
    length_stats,
    pass_at_k,
)
from rlvr.stats.majority import majority_at_k

FILE_NAME = "evaluation.json"


@dataclass(frozen=True, slots=True)
class SetSummary:
    """The figures of one evaluation set; accuracy is avg@n with its 95 % interval, clustered by problem."""

    name: str
    problems: int
    samples_per_problem: int
    accuracy: float
    ci_low: float
    ci_high: float
    pass_at: dict[int, float]  # k -> pass@k
    majority_at: dict[int, float]  # k -> expected accuracy of a majority vote
    lengths: LengthStats


def counts_up_to(n: int) -> list[int]:
    """Return the values of k to report: the powers of two below n, and n."""
    return [2**power for power in range(n.bit_length()) if 2**power < n] + [n]


def summarise(result: EvalResult) -> SetSummary:
    """Return the figures of one evaluation set."""
    problems, n = result.correct.shape
    accuracy, low, high = accuracy_ci95(result.correct)
    passes = pass_at_k(result.correct)
    return SetSummary(
        name=result.name,
        problems=problems,
        samples_per_problem=n,
        accuracy=accuracy,
        ci_low=low,
        ci_high=high,
        pass_at={k: _mean(passes[:, k - 1]) for k in counts_up_to(n)},
        majority_at={k: _mean(majority_at_k(result.answers, result.correct, k)) for k in counts_up_to(n)},
        lengths=length_stats(result),
    )


def evaluation_as_json(model: str, settings: dict[str, Any], results: Sequence[EvalResult]) -> str:
    """Return the text of `evaluation.json`: what was evaluated how, and per set its figures and samples."""
    sets = [
        {
            "summary": _finite(asdict(summarise(result))),
            **samples_as_json(result),
        }
        for result in results
    ]
    content = {"model": model, "settings": settings, "sets": sets}
    return json.dumps(content, allow_nan=False) + "\n"


def read_evaluation(path: Path) -> dict[str, EvalResult]:
    """Read the sets of an `evaluation.json`, or of the folder that holds one, by name.

    Raises DataError if there is no such file or if it is not one of ours.
    """
    file = path / FILE_NAME if path.is_dir() else path
    if not file.is_file():
        raise DataError(f"{file} does not exist; expected the folder or the {FILE_NAME} of an evaluation")
    try:
        content = json.loads(file.read_text())
        results = [result_from_json(part["summary"]["name"], part) for part in content["sets"]]
    except (
        KeyError,
        TypeError,
        ValueError,
    ) as error:  # a user's file: bad JSON, missing or ill-shaped fields
        raise DataError(f"{file} is not an {FILE_NAME} of this project: {error!r}") from error
    return {result.name: result for result in results}


def samples_as_json(result: EvalResult) -> dict[str, Any]:
    """The samples of a result as `result_from_json` reads them; correct is 1, 0 or null."""
    return {
        "problem_ids": list(result.problem_ids),
        "correct": [
            [None if value != value else int(value) for value in row] for row in result.correct.tolist()
        ],
        "lengths": result.lengths.tolist(),
        "truncated": result.truncated.astype(int).tolist(),
        "answers": [list(row) for row in result.answers],
    }


def result_from_json(name: str, content: dict[str, Any]) -> EvalResult:
    """Read the samples of a result; raises KeyError, TypeError or ValueError for what is none."""
    return EvalResult(
        name=name,
        problem_ids=tuple(content["problem_ids"]),
        correct=correctness(content["correct"]),
        lengths=np.asarray(content["lengths"], dtype=np.int64),
        truncated=np.asarray(content["truncated"], dtype=np.bool_),
        answers=tuple(tuple(row) for row in content["answers"]),
    )


def _mean(values: Doubles) -> float:
    """The mean over the problems that have the number; nan where none has."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _finite(figures: dict[str, Any]) -> dict[str, Any]:
    """The figures with null for nan, which JSON does not have: a mean over no response."""
    return {
        name: _finite(value) if isinstance(value, dict) else known_number(value)
        for name, value in figures.items()
    }
