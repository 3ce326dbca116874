"""Whether the runs of a sweep may be compared, what they share and where they differ.

Pure, but that models are looked at whose places differ.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlvr.analysis.sweep.runs import FinishedRun, grouped
from rlvr.data.models.identity import known_model, same_model
from rlvr.errors import DataError
from rlvr.runtime.disk.rows import listed
from rlvr.runtime.keys import FREE_OF_COMPARED, OF_ONE_RUN


@dataclass(frozen=True, slots=True)
class Setup:
    """What the runs were told."""

    steps: tuple[int, ...]  # one unless steps are swept
    shared: dict[str, str]  # key -> value that all runs have
    different: dict[str, dict[str, str]]  # key -> condition -> value
    versions: tuple[tuple[dict[str, str], tuple[str, ...]], ...]  # versions and the runs that had them
    sizes: dict[str, tuple[str, str]]  # evaluation set -> problems, samples of each
    notes: tuple[str, ...]


def check_comparable(runs: Sequence[FinishedRun]) -> None:
    """Refuse runs that cannot be averaged or compared.

    An accuracy after 30 steps against one after 60 compares steps, not conditions, and a mean over runs of different
    settings is the mean of nothing: both would look like a result. Steps may differ where they are swept, so that
    the conditions are named after them.

    Raises:
        DataError: runs of one condition differ in a setting that changes what is trained, or runs differ in steps.
    """
    for condition, own in grouped(runs, lambda run: run.condition).items():
        for key in _keys(own):
            values = grouped(own, _setting(key))
            free = key in OF_ONE_RUN | FREE_OF_COMPARED
            if len(values) > 1 and not free and not _one_model(own, key):
                raise DataError(
                    f"{condition}: its runs differ in {key}: {_who(values)}. A mean over them would mean nothing; "
                    "move the folders that do not belong away, or run them again"
                )
    ordered = sorted(runs, key=lambda run: run.summary.steps)
    by_steps = grouped(ordered, lambda run: run.summary.steps)
    swept = all(f"steps-{run.summary.steps}" in run.name.split("_") for run in runs)
    if len(by_steps) > 1 and not swept:
        raise DataError(
            f"the runs are of different numbers of steps: {_who(by_steps)}. Their accuracies after training cannot be "
            "compared; move some of the folders away, or run these jobs again with the same steps"
        )


def setup_of(runs: Sequence[FinishedRun]) -> Setup:
    """What the runs share, where the conditions differ, and what to bear in mind."""
    shared, different, notes = {}, {}, []
    conditions = grouped(runs, lambda run: run.condition)
    for key in _keys(runs):
        if key in OF_ONE_RUN:
            continue
        values = grouped(runs, _setting(key))
        if len(values) == 1:
            shared[key] = next(iter(values))
            continue
        by_condition = {condition: grouped(own, _setting(key)) for condition, own in conditions.items()}
        different[key] = {condition: " / ".join(found) for condition, found in by_condition.items()}
        mixed = [condition for condition, found in by_condition.items() if len(found) > 1]
        if mixed:
            notes.append(f"{listed(mixed)}: the seeds differ in {key}; wall times may not be like for like.")
    versions = [*grouped(runs, lambda run: json.dumps(run.summary.versions, sort_keys=True)).values()]
    if len(versions) > 1:
        notes.append("Not all runs had the same versions of the packages; see the table of versions.")
    return Setup(
        steps=tuple(sorted({run.summary.steps for run in runs})),
        shared=shared,
        different=different,
        versions=tuple((same[0].summary.versions, tuple(run.name for run in same)) for same in versions),
        sizes=_sizes(runs, notes),
        notes=tuple(notes),
    )


def shown(value: Any) -> str:
    """A setting as text, - where it is not set."""
    return "-" if value is None else value if isinstance(value, str) else json.dumps(value)


def _sizes(runs: Sequence[FinishedRun], notes: list[str]) -> dict[str, tuple[str, str]]:
    sizes = {}
    for name in dict.fromkeys(name for run in runs for name in run.accuracy):
        tables = [run.correct[name] for run in runs if name in run.correct]
        evaluated = {run.condition for run in runs if name in run.accuracy}
        lacking = [c for c in dict.fromkeys(run.condition for run in runs) if c not in evaluated]
        if lacking:
            notes.append(f"{listed(lacking)}: not evaluated on {name}.")
        if len({frozenset(table) for table in tables}) > 1:
            notes.append(
                f"{name}: not all runs were given the same problems; no interval over problems there."
            )
        counts = {len(table) for table in tables}, {len(row) for table in tables for row in table.values()}
        problems, samples = (
            "-" if not c else f"{min(c)}" if len(c) == 1 else f"{min(c)} to {max(c)}" for c in counts
        )
        sizes[name] = (problems, samples)
    return sizes


def _keys(runs: Sequence[FinishedRun]) -> list[str]:
    return list(dict.fromkeys(key for run in runs for key in run.settings))


def _setting(key: str) -> Callable[[FinishedRun], str]:
    return lambda run: shown(run.settings.get(key))


def _one_model(runs: Sequence[FinishedRun], key: str) -> bool:
    """Whether a key names the same model in all runs, at whatever places."""
    first, *others = (known_model(run.summary.models, key, run.settings.get(key)) for run in runs)
    return first is not None and all(model is not None and same_model(first, model) for model in others)


def _who(values: Mapping[Any, Sequence[FinishedRun]]) -> str:
    return "; ".join(f"{value} in {listed([run.name for run in runs])}" for value, runs in values.items())
