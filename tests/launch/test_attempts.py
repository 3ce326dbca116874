"""What follows from how an attempt of a SLURM job ended, and where the next one begins."""

from __future__ import annotations

import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launch.job import named_checkpoint, parse
from launch.outcome import Ending, first_step, newest_step, verdict
from rlvr.errors import EXIT_LOST, EXIT_PAUSED

GOOD = {"finished": False, "before": 4, "after": 6, "attempt": 0, "max_requeues": 3}
PAUSED = Ending(EXIT_PAUSED, True, False)
KILLED = Ending(-signal.SIGKILL, False, False)
LOST = Ending(1, False, True)
FAILED = Ending(1, False, False)
LATE = Ending(130, True, False, ended_for_limit=True)


@pytest.mark.parametrize(
    ("ending", "changes", "requeue", "code", "said"),
    [
        (Ending(0, False, False), {"finished": True}, False, 0, ""),
        (Ending(-signal.SIGUSR1, True, False), {"finished": True}, False, 0, ""),
        (PAUSED, {}, True, EXIT_PAUSED, "goes on after step 6"),
        (Ending(-signal.SIGUSR1, True, False), {}, True, EXIT_PAUSED, "goes on after step 6"),
        (KILLED, {}, True, EXIT_PAUSED, "killed by signal 9; requeued"),
        (LOST, {}, True, EXIT_PAUSED, "a node was lost; requeued"),
        (Ending(EXIT_LOST, False, False), {}, True, EXIT_PAUSED, "lost one of its processes"),
        (FAILED, {}, False, 1, "failed with exit code 1"),
        (PAUSED, {"after": 4}, False, 1, "got no further than step 4: slurm.time leaves no room"),
        (KILLED, {"after": 4}, False, 1, "got no further than step 4: out of memory"),
        (LATE, {}, True, EXIT_PAUSED, "not done before the time limit; requeued, goes on after step 6"),
        (LATE, {"after": 4}, False, 1, "got no further than step 4: raise slurm.warn_seconds"),
        (PAUSED, {"attempt": 3}, False, 1, "3 requeues have been used up"),
    ],
)
def test_what_follows_an_attempt(ending, changes, requeue, code, said):
    outcome = verdict(ending, **(GOOD | changes))
    assert (outcome.requeue, outcome.code) == (requeue, code)
    assert said in outcome.message


@given(
    st.integers(-15, 130),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.integers(0, 9),
    st.integers(0, 9),
    st.integers(0, 4),
)
def test_a_job_is_never_requeued_for_ever(code, asked, lost, late, before, after, attempt):
    ending = Ending(code, asked, lost, late)
    outcome = verdict(ending, finished=False, before=before, after=after, attempt=attempt, max_requeues=3)
    assert outcome.code != 0  # unfinished is never success
    if outcome.requeue:
        assert after > before
        assert attempt < 3


@pytest.mark.parametrize(("warn", "stop", "grace"), [(300, 25, 240), (40, 25, 20), (20, 2, 10)])
def test_a_run_that_does_not_pause_is_ended_before_the_limit(warn, stop, grace):
    options = f"--nodes 1 --ready-seconds 9 --max-requeues 3 --logs l --run-folder r --warn-seconds {warn}"
    assert parse([*options.split(), "--stop-seconds", str(stop)]).grace_seconds == grace


@pytest.mark.parametrize(
    ("resume", "attempt_begins_at"),
    [
        ("auto", 60),
        ("runs/mine/checkpoints/step_000020", 20),
        ('"/a b/checkpoints/step_000020"', 20),
        ("odd", 60),
    ],
)
def test_a_run_that_goes_back_to_a_checkpoint_begins_there(tmp_path, resume, attempt_begins_at):
    (tmp_path / "checkpoints" / "step_000060").mkdir(parents=True)
    (tmp_path / "checkpoints" / "step_000060" / "state.json").touch()
    named = named_checkpoint(["recipe=dapo", f"run.resume={resume}"])
    assert (named is None) == (resume == "auto")
    assert first_step(tmp_path, named) == attempt_begins_at


def test_only_complete_checkpoints_of_the_run_count(tmp_path):
    assert newest_step(tmp_path) == 0
    own = (("step_000004", True), ("step_000008", False), (".step_000009.draft", True))
    for name, complete in (*own, ("step_000012.bak", True), ("step_best", True)):  # copies that somebody made
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
        if complete:
            (tmp_path / "checkpoints" / name / "state.json").touch()
    assert newest_step(tmp_path) == 4
