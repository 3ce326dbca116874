"""How an attempt of a job ended, and whether the job is to go on in another one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rlvr.errors import EXIT_LOST, EXIT_PAUSED
from rlvr.runtime.disk.checkpoint_folders import checkpoints_in, step_of
from rlvr.runtime.disk.summary import SUMMARY


@dataclass(frozen=True, slots=True)
class Ending:
    """How the training process ended."""

    code: int  # exit code; negative: the signal that killed it
    pause_asked: bool  # SIGUSR1 was passed on to it
    node_lost: bool  # Ray ended on some node before it did
    ended_for_limit: bool = False  # its step outlasted the warning


@dataclass(frozen=True, slots=True)
class Decision:
    """What the supervisor is to do."""

    code: int  # to exit with
    requeue: bool = False
    message: str = ""


def newest_step(run_folder: Path) -> int:
    """The step of the newest complete checkpoint, 0 without one."""
    return max(checkpoints_in(run_folder / "checkpoints").values(), default=0)


def summary_time(run_folder: Path) -> float | None:
    """When the run's summary was written; None if it has none, and so is not finished."""
    try:
        return (run_folder / SUMMARY).stat().st_mtime
    except FileNotFoundError:
        return None


def first_step(run_folder: Path, resume: str | None) -> int:
    """The step after which an attempt begins: that of the checkpoint which `run.resume` names, or of the newest."""
    named = step_of(Path(resume or ""))
    return newest_step(run_folder) if named is None else named


def verdict(
    ending: Ending, *, finished: bool, before: int, after: int, attempt: int, max_requeues: int
) -> Decision:
    """Whether the job is done, failed, or goes on in another attempt.

    It goes on after a pause, after a step that the limit would have cut short, and after a crash from outside (a
    signal, a lost node or actor). An error of the run itself would only come again. `before` is the step after
    which the attempt began, `after` that of the newest checkpoint now.
    """
    if finished:
        return Decision(0)
    if ending.ended_for_limit:
        why, remedy = (
            "the step was not done before the time limit",
            "raise slurm.warn_seconds, or slurm.time if that is short of a start and a step",
        )
    elif ending.code == EXIT_PAUSED or (ending.pause_asked and ending.code < 0):
        why = f"stopped at the checkpoint of step {after}"
        remedy = "slurm.time leaves no room for one step, or slurm.warn_seconds none for the step and its checkpoint"
    elif ending.node_lost:
        why, remedy = (
            "a node was lost",
            "see the nodes' output; run.save_every sets how often checkpoints are written",
        )
    elif ending.code == EXIT_LOST:
        why = "the run lost one of its processes, or one did not answer in time"
        remedy = "see its output above; out of memory is the usual reason"
    elif ending.code < 0:
        why = f"the run was killed by signal {-ending.code}"
        remedy = "out of memory is the usual reason; run.save_every sets how often checkpoints are written"
    else:
        return Decision(
            ending.code or 1, message=f"the run failed with exit code {ending.code}, see its output above"
        )
    if after <= before:
        return Decision(
            1, message=f"{why}, and this attempt got no further than step {before}: {remedy}. Not requeued."
        )
    if attempt >= max_requeues:
        return Decision(
            1, message=f"{why}; {attempt} requeues have been used up (slurm.max_requeues). Not requeued."
        )
    return Decision(EXIT_PAUSED, requeue=True, message=f"{why}; requeued, goes on after step {after}")
