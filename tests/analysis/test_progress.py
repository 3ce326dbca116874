"""Progress: plain lines where no terminal reads them, with the time that is left at the pace of this run."""

from __future__ import annotations

import re

import pytest

from rlvr.analysis.progress import PartsDone


def test_plain_lines_without_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    now = 0.0
    monkeypatch.setattr("rlvr.timing.time.perf_counter", lambda: now)
    with PartsDone("scoring", total=8, done=3) as progress:
        now = 10.0
        progress.done("part 4/8: [odd] 7 tokens")
        now = 30.0
        progress.done("part 5/8")
    assert capsys.readouterr().out == (
        "part 4/8: [odd] 7 tokens; about 40 s left\npart 5/8; about 45 s left\n"
    )


def test_a_bar_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with PartsDone("scoring", total=2) as progress:
        progress.done("part 1/2")
    shown = capsys.readouterr().out
    assert "part 1/2; about" in shown
    assert re.search(r"scoring.*1/2", shown)
