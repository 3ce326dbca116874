"""Clocks that a run measures and waits by."""

from __future__ import annotations

import pytest

from rlvr import timing
from rlvr.timing import Deadline, PausedWatch, PhaseClock, Stopwatch


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
