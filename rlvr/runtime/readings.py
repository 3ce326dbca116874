"""Evaluations of a training run: which sets are due, whether the engines stop for them, and how they go on record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rlvr.data.eval_sets import due, eval_named
from rlvr.data.stream import EvalSet
from rlvr.rollout.flow.readings import Question, Reading
from rlvr.runtime.checkpoints.checkpoint import TrainingState
from rlvr.runtime.evaluation import (
    EvalReport,
    evaluate,
    evaluation_sampling,
    key_of,
    refuse_failures_on,
    report,
)
from rlvr.runtime.session import Session
from rlvr.seeding import derived_seed
from rlvr.types import Group


def evaluate_now(s: Session, step: int, weights: int | None = None) -> tuple[EvalReport, ...]:
    """Evaluate the sets that are due after so many steps, on the policy as it is, while nothing else is generated.

    `weights` is the version of that policy where it is not the step's.
    """
    with s.tracker.phase("evaluation before the first step"), s.source.paused("evaluation"):
        reports = evaluate(s.engines, s.graders, _due(s, step), s.cfg)
    if weights is not None:
        reports = tuple(replace(found, versions=(weights, weights)) for found in reports)
    _record(s, step, reports)
    return reports


def evaluate_between(s: Session, state: TrainingState) -> TrainingState:
    """The evaluations between this step and the next; the state with those that are under way.

    Where a flow generates they are sampled in it, and go on record when they are done; otherwise training waits.
    """
    beside, is_due = s.source.beside, state.step < s.cfg.steps and bool(due(s.cfg, state.step))
    # What is kept if an earlier one is refused here: this one is asked for again as well.
    with s.keeping(replace(state, readings=(*state.readings, state.step)) if beside and is_due else state):
        if beside is None:
            if is_due:
                evaluate_now(s, state.step)
            return replace(state, readings=())
        for reading in beside.answered():
            _record_reading(s, reading)
        if is_due:
            beside.read(state.step, _questions(s, state.step))
    return replace(state, readings=tuple(sorted(beside.reading)))


def evaluate_again(s: Session) -> None:
    """Ask once more for the evaluations that were under way at the checkpoint, unless they are on record since.

    One that is not due by the schedule of now is left out; where training waits for evaluations it is of the weights
    of the checkpoint, and its record says so.
    """
    recorded = {row["step"] for row in s.folder.read_metrics() if row.get("kind") == "eval"}
    for step in s.start.readings:
        if step in recorded:
            continue
        if step >= s.cfg.steps or not due(s.cfg, step):
            s.tracker.note(
                f"the evaluation after step {step} was under way, and is left out: steps or schedule have changed"
            )
            continue
        s.tracker.note(f"the evaluation after step {step} was under way: it is asked for again")
        if s.source.beside is None:
            evaluate_now(s, step, weights=s.start.step)
        else:
            s.source.beside.read(step, _questions(s, step))


def evaluate_last(s: Session, state: TrainingState) -> tuple[EvalReport, ...]:
    """Record what is still under way, then evaluate the final policy.

    Raises:
        DeadlineError: an evaluation was not done within rollout.deadline_seconds; a resumed run asks for it again.
    """
    if s.source.beside is not None:
        for reading in s.source.beside.answered(wait=True):
            _record_reading(s, reading)
    return evaluate_now(s, state.step)


def _due(s: Session, step: int) -> list[EvalSet]:
    names = due(s.cfg, step)
    return [chosen for chosen in s.eval_sets if chosen.name in names]


def _questions(s: Session, step: int) -> list[Question]:
    """What a blocking evaluation would ask, with the same seeds; names carry the step, for two may be under way."""
    found = []
    for chosen in _due(s, step):
        own, key = replace(s.cfg, eval=eval_named(chosen.name, s.cfg)), key_of(chosen.name)
        sampling, n = evaluation_sampling(own), own.eval.samples_per_prompt
        found += [
            Question(chosen.name, f"{key}@{step}", p, derived_seed(s.cfg.seed, key, p.id), sampling, n)
            for p in chosen.prompts
        ]
    return found


def _record_reading(s: Session, reading: Reading) -> None:
    for name, groups in reading.sets.items():
        refuse_failures_on(name, groups, s.cfg)
    reports = tuple(
        replace(report(name, groups), versions=_versions(groups)) for name, groups in reading.sets.items()
    )
    _record(s, reading.step, reports)


def _versions(groups: Sequence[Group]) -> tuple[int, int]:
    """The first and the last version of the weights that sampled a token."""
    found = [span.version for group in groups for sample in group.samples for span in sample.spans]
    return min(found), max(found)


def _record(s: Session, step: int, reports: tuple[EvalReport, ...]) -> None:
    s.tracker.evaluation(step, reports)
    s.folder.dump_later(f"eval_{step:06d}", [g for r in reports for g in r.groups])
