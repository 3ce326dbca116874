"""Clocks that a run measures and waits by."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from rlvr import timing
from rlvr.timing import Deadline, PausedWatch, PhaseClock, Standstills, Stopwatch


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, as its only element."""
    now = [100.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])
    return now


def test_a_stopwatch_runs_from_when_it_is_made(at):
    watch = Stopwatch()
    assert watch.seconds == 0
    at[0] += 2.5
    assert watch.seconds == 2.5


def test_phases_add_up_by_name_also_where_one_fails(at):
    clock = PhaseClock()
    for seconds in (1.0, 2.0):
        with clock.phase("a"):
            at[0] += seconds

    def fails() -> None:
        with clock.phase("b"):
            at[0] += 4.0
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert clock.phases == {"a": 3.0, "b": 4.0}
    assert clock.seconds == 7.0


def test_a_deadline_passes_once(at):
    deadline = Deadline(3.0)
    assert (deadline.left, deadline.passed) == (3.0, False)
    at[0] += 3.0
    assert (deadline.left, deadline.passed) == (0.0, False)
    at[0] += 1.0
    assert (deadline.left, deadline.passed) == (0.0, True)


def test_a_watch_stands_still_in_pauses(at):
    watch = PausedWatch()
    for action, seconds in (
        (watch.resume, 1.0),
        (watch.pause, 10.0),
        (watch.pause, 10.0),
        (watch.resume, 2.0),
        (watch.pause, 10.0),
    ):
        action()
        at[0] += seconds
    assert watch.seconds == 3.0


def test_what_stood_still_counts_for_no_deadline() -> None:
    now = [100.0]
    found = Standstills(clock=lambda: now[0])
    now[0] += 50.0
    assert found.since(0.0) == 0.0  # nobody looks yet
    found.look()
    for _ in range(3):
        now[0] += 1.0
        found.look()
    began = now[0] - 1.0
    now[0] += 3600.0
    assert found.since(began) == 3600.0 - timing.TICK_SECONDS
    assert found.since(now[0]) == 0.0
    now[0] += 2.0  # late, as on a busy machine
    assert found.since(began) == 3600.0 - timing.TICK_SECONDS
    found.forget()
    assert found.since(began) == 0.0


WAITS = """
import os, signal, subprocess, sys, time
from rlvr.timing import Deadline, standstills
standstills.watch()
time.sleep(1.5)
deadline, began = Deadline(4.0), time.monotonic()
subprocess.Popen(["/bin/sh", "-c", f"sleep 8; kill -CONT {os.getpid()}"])
os.kill(os.getpid(), signal.SIGSTOP)
assert time.monotonic() - began > 7.0
assert not deadline.passed and deadline.left > 2.0, deadline.left
assert not deadline.allows(lambda seconds: time.sleep(seconds)), "passes all the same"
assert time.monotonic() - began < 16.0
"""


def test_nobody_looks_after_a_run() -> None:
    now, before = [100.0], threading.active_count()
    looks = Standstills(clock=lambda: now[0])
    for _ in range(2):  # one run after the other
        looks.watch()
        looks.watch()
        assert threading.active_count() == before + 1
        looks.rest()
        assert threading.active_count() == before
        now[0] += 50.0
        assert looks.since(0.0) == 0.0


@pytest.mark.slow
def test_a_process_that_was_stopped_has_its_time_to_wait_left() -> None:
    done = subprocess.run([sys.executable, "-c", WAITS], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "this process stood still for" in done.stderr
