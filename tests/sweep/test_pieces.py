"""Pieces one after the other, with real processes: what is skipped, stopped, gone on with, and how long it may take."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from rlvr.analysis.study import ANALYZE, TRAIN, Piece, Record, Records
from rlvr.errors import DataError, RlvrError
from rlvr.sweep import pieces as runner
from rlvr.sweep.pieces import run_pieces

PROGRAM = """
import signal, sys, time
from pathlib import Path
do, folder = sys.argv[1], Path(sys.argv[2])
folder.mkdir(exist_ok=True)
with (folder / "runs").open("a") as runs:
    runs.write("x")
if do == "fail":
    sys.exit(3)
if do in ("wait", "fail_when_asked") and len((folder / "runs").read_text()) == 1:  # the first time
    asked = []
    signal.signal(signal.SIGUSR1, lambda number, frame: asked.append("usr1"))
    signal.signal(signal.SIGINT, lambda number, frame: asked.append("int"))
    (folder / "metrics.jsonl").write_text("a step")
    end = time.monotonic() + 300
    while not asked and time.monotonic() < end:
        time.sleep(0.01)
    (folder / "asked").write_text(asked[0])
    sys.exit(3 if do == "fail_when_asked" else 75)
if do != "nothing":
    (folder / "summary.json").write_text("{}")
"""


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Records:
    """Of pieces whose program `python -m` finds."""
    (tmp_path / "piece_program.py").write_text(PROGRAM)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return Records(tmp_path / "pieces")


def piece(root: Path, name: str, do: str = "finish", kind: str = TRAIN) -> Piece:
    folder = root / name
    return Piece(name, kind, "piece_program", (do, str(folder)), folder, folder / "summary.json")


class UntilItSteps:
    """In place of a deadline: passed once the piece has written its first metrics."""

    file: Path

    def __init__(self, seconds: float) -> None:
        assert seconds > 0

    @property
    def passed(self) -> bool:
        return self.file.is_file()


def times(folder: Path) -> int:
    """How often a piece was started."""
    runs = folder / "runs"
    return len(runs.read_text()) if runs.is_file() else 0


def test_a_record_that_cannot_be_written_is_one_error(tmp_path):
    (tmp_path / "findings").touch()
    made = piece(tmp_path, "one")
    with pytest.raises(RlvrError, match=r"pieces/one\.json cannot be written \(Not a directory\)"):
        Records(tmp_path / "findings" / "pieces").write(made, Record(made.arguments))


@pytest.mark.slow
def test_finished_pieces_are_skipped_and_a_failure_keeps_them(records, tmp_path):
    good, bad = piece(tmp_path, "good"), piece(tmp_path, "bad", "fail")
    for _ in range(2):
        with pytest.raises(RlvrError, match="bad ended with exit code 3"):
            run_pieces([good, bad], records)
    assert (times(good.folder), times(bad.folder)) == (1, 2)
    assert records.finished(good)
    assert not records.finished(bad)
    found = records.of(good)
    assert found is not None
    assert found.seconds > 0
    assert found.finished
    assert " x " in found.machine
    assert run_pieces([good], records)


def test_what_is_finished_stays_so_in_a_folder_that_was_moved(records, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    made, other = piece(here, "made", kind=ANALYZE), replace(piece(here, "made"), arguments=("else",))
    assert run_pieces([made], Records(here / "pieces"))
    assert Records(here / "pieces").of(other) is None  # another command
    here.rename(there)
    moved = Records(there / "pieces")
    assert moved.finished(piece(there, "made", kind=ANALYZE))
    assert str(tmp_path) not in (there / "pieces" / "made.json").read_text()


def test_only_whole_paths_below_the_root_are_kept_relative(tmp_path):
    root = tmp_path / "study"
    arguments = (
        f"run.root={root}/sums",
        f"run={root}",
        f"model.path={root}_models/x",
        f"a=['{root}/b',{root}]",
        "c=1",
    )
    odd = Piece("odd", TRAIN, "none", arguments, root / "odd", root / "odd" / "summary.json")
    Records(root / "pieces").write(odd, Record(arguments))
    kept = json.loads((root / "pieces" / "odd.json").read_text())["arguments"]
    assert kept == ["run.root=./sums", "run=.", f"model.path={root}_models/x", "a=['./b',.]", "c=1"]
    assert Records(root / "pieces").of(odd) is not None


def test_a_command_that_leaves_nothing_has_not_finished(records, tmp_path):
    with pytest.raises(RlvrError, match=r"empty left no .*summary\.json"):
        run_pieces([piece(tmp_path, "empty", "nothing")], records)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "signal"), [(TRAIN, "usr1"), (ANALYZE, "int")])
def test_a_sitting_ends_with_its_time_and_the_next_goes_on(kind, signal, records, tmp_path, monkeypatch):
    long, next_one = piece(tmp_path, "long", "wait", kind), piece(tmp_path, "next")
    UntilItSteps.file = long.folder / "metrics.jsonl"
    monkeypatch.setattr(runner, "Deadline", UntilItSteps)
    monkeypatch.setattr(runner, "stop", lambda children: None)  # which UntilItSteps would call at once
    assert not run_pieces([long, next_one], records, minutes=1)
    monkeypatch.undo()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert (long.folder / "asked").read_text() == signal
    begun = records.of(long)
    assert begun is not None
    assert not begun.finished
    assert times(next_one.folder) == 0

    assert run_pieces([long, next_one], records)
    done = records.of(long)
    assert done is not None
    assert done.finished
    assert done.seconds > begun.seconds  # of both sittings
    assert (times(long.folder), times(next_one.folder)) == (2, 1)


@pytest.mark.slow
def test_what_is_interrupted_counts_as_begun(records, tmp_path, monkeypatch):
    class Interrupted(UntilItSteps):
        @property
        def passed(self) -> bool:
            if super().passed:
                raise KeyboardInterrupt
            return False

    long = piece(tmp_path, "long", "wait", ANALYZE)
    Interrupted.file = long.folder / "metrics.jsonl"
    monkeypatch.setattr(runner, "Deadline", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_pieces([long], records, minutes=1)
    begun = records.of(long)
    assert begun is not None
    assert begun.seconds > 0
    assert not begun.finished


def test_what_fails_after_the_time_is_up_is_a_failure(records, tmp_path, monkeypatch):
    bad = piece(tmp_path, "bad", "fail_when_asked", ANALYZE)
    UntilItSteps.file = bad.folder / "metrics.jsonl"
    monkeypatch.setattr(runner, "Deadline", UntilItSteps)
    monkeypatch.setattr(runner, "stop", lambda children: None)
    with pytest.raises(RlvrError, match="bad ended with exit code 3"):
        run_pieces([bad], records, minutes=1)


def test_an_analysis_older_than_its_training_is_done_again(records, tmp_path):
    marker = tmp_path / "a" / "analysis.json"
    one = replace(piece(tmp_path, "a", kind=ANALYZE), marker=marker)
    (tmp_path / "a").mkdir()
    marker.touch()
    records.write(one, Record(one.arguments, 900.0, "2026-01-01 00:00"))
    assert records.finished(one)
    trained = tmp_path / "a" / "summary.json"
    trained.touch()
    os.utime(trained, (marker.stat().st_mtime + 5,) * 2)
    assert not records.finished(one)


def test_what_is_done_anew_begins_its_time_anew(records, tmp_path):
    one = piece(tmp_path, "a")
    records.write(one, Record(one.arguments, 900.0, "2026-01-01 00:00"))
    assert run_pieces([one], records)
    found = records.of(one)
    assert found is not None
    assert found.seconds < 900
    assert found.finished > "2026-01-01"


def test_no_piece_starts_in_a_sitting_of_no_time(records, tmp_path):
    assert not run_pieces([piece(tmp_path, "one")], records, minutes=0)
    assert times(tmp_path / "one") == 0


@pytest.mark.slow
def test_other_arguments_are_another_piece_unless_it_is_a_training(records, tmp_path):
    trained, analysed = piece(tmp_path, "trained"), piece(tmp_path, "analysed", kind=ANALYZE)
    assert run_pieces([trained, analysed], records)
    other = [replace(p, arguments=(*p.arguments, "more")) for p in (trained, analysed)]
    # Whether a finished training is the one that is asked for is seen from its configuration.
    assert [records.finished(p) for p in other] == [True, False]
    assert run_pieces(other, records)
    assert (times(trained.folder), times(analysed.folder)) == (1, 2)


def test_checkpoints_of_a_finished_training_go(records, tmp_path):
    for name, kept in (("a", True), ("b", False)):
        (tmp_path / name / "checkpoints").mkdir(parents=True)
        run_pieces([piece(tmp_path, name)], records, keep_checkpoints=kept)
        assert (tmp_path / name / "checkpoints").exists() == kept


def test_the_time_left_is_that_of_pieces_of_the_kind(records, tmp_path):
    own = [piece(tmp_path, name) for name in "abcd"] + [piece(tmp_path, "e", kind=ANALYZE)]
    assert records.what_is_left(own) == (
        "0 of 5 pieces are done; left: 4 x train, time not known yet; 1 x analyze, time not known yet"
    )
    for one, seconds in zip(own, (120.0, 240.0), strict=False):
        one.folder.mkdir()
        one.marker.touch()
        records.write(one, Record(one.arguments, seconds, "2026-01-01 00:00", "2 x made up"))
    assert records.what_is_left(own) == (
        "2 of 5 pieces are done; left, about 6 min: 2 x train, 3.0 min each; 1 x analyze, time not known yet"
    )
    assert records.what_is_left(own[:2]) == "2 of 2 pieces are done"


@pytest.mark.parametrize(
    "text",
    [
        *('{"seconds": 3}', '{"arguments"', "[]"),
        *('{"arguments": [], "hours": 3}', '{"arguments": 3}', '{"arguments": [3]}'),
    ],
)
def test_a_damaged_record_is_named(text, records, tmp_path):
    one = piece(tmp_path, "a")
    records.write(one, Record(one.arguments))
    [file] = (tmp_path / "pieces").iterdir()
    file.write_text(text)
    with pytest.raises(DataError, match=r"a\.json: damaged"):
        records.of(one)
