"""`python -m rlvr.audit_reward`, run as a user runs it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rlvr.audit_reward import _Output
from rlvr.errors import RlvrError
from rlvr.reward.audit import Columns, read_rows
from tests.helpers.forked import Done, run_module
from tests.helpers.grader_cases import ENDLESS
from tests.helpers.paths import REPOSITORY

SHARED = REPOSITORY.parent / "shared" / "data"


PYTHONPATH = os.pathsep.join([str(REPOSITORY), *sys.path])


def run(folder: Path, *overrides: str, expect: int = 0) -> Done:
    result = run_module("rlvr.audit_reward", *overrides, cwd=folder, PYTHONPATH=PYTHONPATH)
    assert result.returncode == expect, result.stdout + result.stderr
    return result


def write(path: Path, rows: list) -> None:
    path.write_bytes(
        b"".join((row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n" for row in rows)
    )


def verdicts(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.slow
def test_verdicts_in_the_order_of_the_rows_and_bad_rows_by_line(tmp_path):
    rows = [
        {"id": "a", "answer": "12", "response": r"\boxed{12}"},
        {"id": 7, "answer": r"\frac{1}{2}", "response": r"\boxed{0.5}"},
        b"{not json",
        {"id": "c", "answer": "12", "response": None},
        b"",
        {"id": "d", "answer": 12, "response": r"\boxed{13}", "other": 1},
        {"id": "e", "response": r"\boxed{13}"},
        b'"text"',
        {"sample_id": "p0-s1", "id": "x", "answer": "3", "response": "no box"},
        {"answer": "3", "response": r"\boxed{3}"},
        b"\xff\xfe",
        {"id": "a", "answer": "1", "response": ENDLESS},
        {"id": "last", "answer": "4", "response": r"\boxed{4}"},
    ]
    write(tmp_path / "rows.jsonl", rows)
    result = run(
        tmp_path, "file=rows.jsonl", "output=out/verdicts.jsonl", "deadline_seconds=1", "save_folder=kept"
    )
    found = verdicts(tmp_path / "out" / "verdicts.jsonl")
    assert [row["id"] for row in found] == [
        "a", 7, "line 3", "c", "d", "e", "line 8", "p0-s1", "line 10", "line 11", "a", "last"
    ]  # fmt: skip
    assert [row["verdict"] for row in found] == [
        "correct", "correct", "failed", "failed", "wrong", "failed", "failed", "no_answer", "correct", "failed",
        "timed_out", "correct",
    ]  # fmt: skip
    assert {"id", "verdict", "extracted", "gold", "seconds", "policy", "grader_version"} <= set(found[0])
    assert (found[1]["extracted"], found[1]["gold"]) == ("0.5", r"\frac{1}{2}")
    summary = json.loads((tmp_path / "out" / "verdicts.summary.json").read_text())
    assert summary["counts"] == {"correct": 4, "wrong": 1, "no_answer": 1, "timed_out": 1, "failed": 5}
    assert sum(summary["counts"].values()) == summary["rows"] == 12
    assert [bad["line"] for bad in summary["bad_rows"]] == [3, 4, 7, 8, 11]
    assert summary["accuracy"] == pytest.approx(4 / 7)
    assert "line 4: 'response' is NoneType: expected text" in result.stdout
    assert "line 7: no column 'answer'" in result.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"rows.jsonl", "out", "kept"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"verdicts.jsonl", "verdicts.summary.json"}
    assert len((tmp_path / "kept" / "offending_samples.jsonl").read_text().splitlines()) == 1


@pytest.mark.slow
def test_the_home_folder_is_written_out(tmp_path, monkeypatch):
    (tmp_path / "home").mkdir()
    write(tmp_path / "home" / "rows.jsonl", [{"id": "a", "answer": "12", "response": r"\boxed{12}"}])
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    run(tmp_path, "file=~/rows.jsonl", "output=~/out/verdicts.jsonl", "save_folder=~/kept")
    assert [row["id"] for row in verdicts(tmp_path / "home" / "out" / "verdicts.jsonl")] == ["a"]
    assert not (tmp_path / "~").exists()


@pytest.mark.slow
def test_disagreements_with_labels_and_a_second_grader(tmp_path):
    rows = [
        {"id": "a", "answer": "12", "response": r"\boxed{12}", "label": True},
        {"id": "b", "answer": "12", "response": r"\boxed{13}", "label": "correct"},
        {"id": "c", "answer": "no", "response": r"\boxed{on}", "label": 0},
        {"id": "d", "answer": "5", "response": r"\boxed{5}"},
        {"id": "e", "answer": "5", "response": r"\boxed{5}", "label": "perhaps"},
    ]
    write(tmp_path / "rows.jsonl", rows)
    run(
        tmp_path,
        "file=rows.jsonl",
        "output=v.jsonl",
        "second=rlvr.reward.verifiers.reference:math_verify_default",
    )
    summary = json.loads((tmp_path / "v.summary.json").read_text())
    assert [(noted["id"], noted["other"]) for noted in summary["disagreements"]] == [
        ("b", "label: correct"),
        ("c", "second grader: correct"),
    ]
    assert summary["confusion_with_label"] == {
        "correct": {"correct": 1},
        "wrong": {"correct": 1, "not correct": 1},
    }
    assert summary["confusion_with_second"] == {
        "correct": {"correct": 2},
        "wrong": {"correct": 1, "wrong": 1},
    }
    assert summary["bad_rows"] == [
        {
            "line": 5,
            "id": "e",
            "reason": "label 'perhaps': expected true, false, 0, 1 or the name of a verdict",
        }
    ]


@pytest.mark.slow
def test_problems_without_responses_are_graded_against_themselves(tmp_path):
    golds = ["12", r"\frac{1}{2}", "(1,2]", r"\text{Monday}", "x=3", "long solution\n#### 7"]
    write(
        tmp_path / "problems.jsonl",
        [{"id": i, "problem": "?", "answer": gold} for i, gold in enumerate(golds)],
    )
    result = run(tmp_path, "file=problems.jsonl")
    assert "correct    6" in result.stdout
    assert "answers against themselves" in result.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"problems.jsonl"}


@pytest.mark.slow
def test_a_failed_audit_leaves_the_former_output_alone(tmp_path):
    write(tmp_path / "rows.jsonl", [{"id": "a", "answer": "12", "response": r"\boxed{12}"}])
    (tmp_path / "v.jsonl").write_text("precious\n")
    result = run(tmp_path, "file=rows.jsonl", "output=v.jsonl", "verifier=no_such_module:f", expect=1)
    assert "cannot be loaded" in result.stderr
    assert "Traceback" not in result.stderr
    assert (tmp_path / "v.jsonl").read_text() == "precious\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["file=absent.jsonl"], "no such file"),
        (["file=empty.jsonl"], "no line of the file is a JSON object"),
        (["file=rows.jsonl", "response_column=text"], "no such column"),
        (["file=rows.jsonl", "policy=best"], "unknown grading policy"),
        (["file=rows.jsonl", "worker=2"], "worker"),
        (["file=rows.jsonl", "workers=two"], "could not be converted to Integer"),
        ([], "no file named"),
    ],
)
def test_mistakes_are_named(tmp_path, overrides, message):
    write(tmp_path / "rows.jsonl", [{"id": "a", "answer": "12", "response": r"\boxed{12}"}])
    (tmp_path / "empty.jsonl").write_bytes(b"\n")
    assert message in run(tmp_path, *overrides, expect=1).stderr


@pytest.mark.parametrize("output", ["/proc/x", "file/v.jsonl", "folder", "v.jsonl"])
def test_an_output_that_cannot_be_written_is_named_before_anything_is_graded(tmp_path, output):
    (tmp_path / "file").touch()
    for taken in ("folder", "v.summary.json"):
        (tmp_path / taken).mkdir()
    place = tmp_path / output
    with (
        pytest.raises(RlvrError, match=f"output={place}: cannot be written .*name a file"),
        _Output(str(place)),
    ):
        pass
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.slow
def test_shared_solutions_are_all_correct(tmp_path):
    if not SHARED.is_dir():
        pytest.skip("the shared data folder is not beside the checkout")
    run(tmp_path, f"file={SHARED / 'aime24.jsonl'}", "response_column=solution", "output=v.jsonl")
    found = verdicts(tmp_path / "v.jsonl")
    assert [row["verdict"] for row in found] == ["correct"] * 30


def test_rows_are_read_lazily_and_never_raise():
    lines = [
        b'{"id": 1, "answer": "2", "response": "3"}',
        b"[" * 100_000,
        b"\x00",
        b"null",
        b'{"answer": true}',
    ]
    rows = list(read_rows(lines, Columns("answer", "response", "label")))
    assert [bool(row.problem) for row in rows] == [False, True, True, True, True]
    assert [row.key for row in rows] == [f"line {n}" for n in range(1, 6)]


@pytest.mark.slow
def test_a_killed_audit_leaves_the_verdicts_so_far(tmp_path):
    rows = [{"id": i, "answer": "12", "response": r"\boxed{12}"} for i in range(5)]
    rows.append({"id": 5, "answer": "12", "response": ENDLESS})
    write(tmp_path / "rows.jsonl", rows)
    environment = os.environ | {"PYTHONPATH": PYTHONPATH}
    overrides = ["file=rows.jsonl", "output=v.jsonl", "batch_rows=1", "deadline_seconds=300"]
    audit = subprocess.Popen(
        [sys.executable, "-m", "rlvr.audit_reward", *overrides], cwd=tmp_path, env=environment
    )
    partial, deadline = tmp_path / "v.jsonl.partial", time.monotonic() + 240
    while not partial.exists() or partial.read_text().count("\n") < 5:
        assert time.monotonic() < deadline, "no partial verdicts within 240 s"
        time.sleep(0.05)
    audit.kill()
    audit.wait(60)
    assert [row["verdict"] for row in verdicts(partial)] == ["correct"] * 5
    assert not (tmp_path / "v.jsonl").exists()
