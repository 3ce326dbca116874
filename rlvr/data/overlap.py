"""Find training questions that also stand in an evaluation set."""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rlvr.errors import DataError
from rlvr.types import Problem

log = logging.getLogger(__name__)

POLICIES = ("warn", "refuse", "drop")
PAIRS_LISTED = 5

# Spacing and sizing commands that differ between copies of a problem without changing it. A line break comes first:
# the backslash at its end begins no command.
_LAYOUT = re.compile(r"(\\\\)|\\(?:left|right|displaystyle|limits|qquad|quad)(?![a-zA-Z])|\\[,;:!\s]")
_FRACTION = re.compile(r"\\[dt]frac(?![a-zA-Z])")
_IGNORED = re.compile(r"[\s$~]+")


@dataclass(frozen=True, slots=True)
class SharedQuestion:
    """A training problem whose question also stands in an evaluation set."""

    train_id: str
    eval_set: str
    eval_id: str


def normalise(question: str) -> str:
    """Return a question without what may differ between two copies of it.

    That is Unicode compatibility forms, case, white space, dollar signs and LaTeX layout commands; never a
    digit, letter or operator.
    """
    text = unicodedata.normalize("NFKC", question).casefold()
    text = _FRACTION.sub(r"\\frac", _LAYOUT.sub(r"\1", text))
    return _IGNORED.sub("", text)


def find_overlap(
    train: Sequence[Problem], evals: Mapping[str, Sequence[Problem]]
) -> tuple[SharedQuestion, ...]:
    """Return every pair of a training and an evaluation problem with the same normalised question."""
    seen: dict[str, list[tuple[str, str]]] = {}
    for name, problems in evals.items():
        for problem in problems:
            seen.setdefault(normalise(problem.question), []).append((name, problem.id))
    return tuple(
        SharedQuestion(problem.id, name, eval_id)
        for problem in train
        for name, eval_id in seen.get(normalise(problem.question), ())
    )


def settle_overlap(
    train: Sequence[Problem], evals: Mapping[str, Sequence[Problem]], policy: str
) -> tuple[tuple[Problem, ...], tuple[SharedQuestion, ...]]:
    """Apply `data.on_overlap` and return the training problems to use, with every overlap that was found.

    "warn" logs and keeps all, "drop" logs and leaves the training problems out, "refuse" raises DataError.
    An unknown policy, and a "drop" that leaves nothing to train on, raise DataError as well.
    """
    if policy not in POLICIES:
        raise DataError(f"data.on_overlap is {policy!r}; expected one of {', '.join(POLICIES)}")
    found = find_overlap(train, evals)
    if not found:
        return tuple(train), found
    overlapping = {pair.train_id for pair in found}
    pairs = ", ".join(f"{pair.train_id} = {pair.eval_id} in {pair.eval_set}" for pair in found[:PAIRS_LISTED])
    message = (
        f"{len(overlapping)} of {len(train)} training questions also stand in an evaluation set: {pairs}"
        f"{', ...' if len(found) > PAIRS_LISTED else ''}"
    )
    if policy == "refuse":
        raise DataError(f"{message}. Set data.on_overlap=drop to leave them out, or warn to keep them")
    if policy == "warn":
        log.warning("%s. They are kept; data.on_overlap=drop leaves them out", message)
        return tuple(train), found
    kept = tuple(problem for problem in train if problem.id not in overlapping)
    if not kept:
        raise DataError(f"{message}. Nothing is left to train on: choose another training split")
    log.warning("%s. They are left out of training", message)
    return kept, found
