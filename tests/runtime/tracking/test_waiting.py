"""What a start says while it waits: by a clock that the test moves, and from actors that report."""

from __future__ import annotations

import io
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from rlvr.cluster.board import READY, Doing
from rlvr.runtime.tracking.waiting import LOOK_SECONDS, QUIET_SECONDS, Bars, StartConsole, Waiting


class Clock:
    """Seconds, moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Start:
    """A start under test: its clock, its lines with their times, and what its actors report."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.said: list[tuple[float, str]] = []
        self.reports: dict[str, Doing] = {}
        self.waiting = Waiting(
            lambda text: self.said.append((self.clock.now, text)), lambda: dict(self.reports), self.clock
        )

    def passes(self, seconds: float) -> None:
        """Time goes by, looked at as the thread of a run does."""
        for _ in range(round(seconds / LOOK_SECONDS)):
            self.clock.now += LOOK_SECONDS
            self.waiting.look()

    def lines(self) -> list[str]:
        return [text for _, text in self.said]


@pytest.mark.slow
@given(st.lists(st.tuples(st.floats(0, 200), st.booleans()), max_size=6))
def test_no_two_lines_are_more_than_ten_seconds_apart(parts: list[tuple[float, bool]]):
    start = Start()
    for number, (seconds, in_phase) in enumerate(parts):
        if in_phase:
            with start.waiting.phase(f"part {number}"):
                start.passes(seconds)
        else:
            start.passes(seconds)
    times = [0.0, *(at for at, _ in start.said), start.clock.now]
    assert max(b - a for a, b in pairwise(times)) <= 10
    assert QUIET_SECONDS + LOOK_SECONDS < 10


def test_a_wait_names_who_is_pending_with_what_and_for_how_long():
    start = Start()
    start.reports = {
        "engine-0": Doing("imports vLLM"),
        "learner-0": Doing("its process starts"),
        "old": READY,
    }
    with start.waiting.phase("starting 1 engine", announce=True):
        assert start.lines() == ["starting 1 engine ..."]
        start.passes(4)
        start.reports["engine-0"] = Doing("fetches weights,", 1.5, 3.0, "GB")
        start.passes(4)
        assert start.lines()[-1] == (
            "starting 1 engine: 8 s so far (engine-0: fetches weights, 1.5 of 3 GB, 7 s; learner-0: its process "
            "starts, 7 s)"
        )
        start.reports["engine-0"] = READY
        start.passes(1)
        assert start.lines()[-1] == "engine-0: ready after 8 s"
        start.passes(9)
        assert "engine-0" not in start.lines()[-1]
        assert "learner-0" in start.lines()[-1]
        start.reports["learner-0"] = READY
    assert start.lines()[-1].startswith(
        "learner-0: ready after"
    )  # though nobody looked before the phase ended
    count = len(start.said)
    start.passes(QUIET_SECONDS)
    assert len(start.said) == count + 1
    assert start.lines()[-1].startswith("on the way to the first step: 8 s so far")


def test_a_line_of_anybody_else_puts_the_next_one_off():
    start = Start()
    start.passes(QUIET_SECONDS - 1)
    start.waiting.note("ray: 1 node")
    start.passes(QUIET_SECONDS - 1)
    assert start.lines() == ["ray: 1 node"]
    start.passes(1)
    assert len(start.said) == 2


def test_rows_with_bars_on_a_terminal():
    reports = {"engine-0": Doing("generates", 12, 64, "responses")}
    rows = Bars(Console(file=io.StringIO(), force_terminal=True, width=120))
    start = Start()
    start.reports = reports
    with start.waiting.phase("preflight"):
        rows.draw(start.waiting.rows())
        assert [task.description for task in rows.bars.tasks] == ["preflight", "engine-0"]
        engine = rows.bars.tasks[1]
        assert (engine.completed, engine.total) == (12, 64)
        assert engine.fields["doing"] == "generates 12 of 64 responses 0 s"
        reports["engine-0"] = READY
        rows.draw(start.waiting.rows())
        assert [task.description for task in rows.bars.tasks] == ["preflight"]


def test_nothing_is_said_where_the_console_is_off(capsys: pytest.CaptureFixture[str]):
    with StartConsole("off", dict) as silent, silent.waiting.phase("preflight"):
        silent.waiting.note("a line")
    assert silent.over
    assert capsys.readouterr().out == ""
