"""What a run that goes on drops or puts aside in its folder, and what stays."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rlvr.config import Config
from rlvr.runtime.disk.folder import RunFolder
from rlvr.runtime.disk.rewind import reopen, rewind


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    made = RunFolder(tmp_path / "runs", "mine")
    made.create(Config(recipe="test"))
    return made


def test_rewind_drops_what_a_resumed_run_writes_again(folder):
    for step in range(1, 6):
        folder.append_metrics({"step": step})
    with folder.metrics_file.open("a") as file:
        file.write('{"step": 6, "lo')
    rewind(folder, 3)
    assert folder.read_metrics() == [{"step": 1}, {"step": 2}, {"step": 3}]
    assert folder.metrics_file.read_text().endswith("}\n")


def test_rewind_drops_an_evaluation_with_tokens_of_later_weights(folder):
    whole, moved = (
        {
            "step": 2,
            "kind": "eval",
            "eval/a/version_first": 2,
            "eval/a/version_last": last,
            "eval/b/version_last": 2,
        }
        for last in (3, 4)
    )
    for row in (whole, {"step": 3}, moved):
        folder.append_metrics(row)
    assert rewind(folder, 3) == 1
    assert folder.read_metrics() == [whole, {"step": 3}]


def test_rewind_drops_later_samples_and_nothing_else(folder):
    samples = folder.path / "samples"
    kept = [
        "step_000003.jsonl",
        "eval_000000.jsonl",
        "eval_000003.jsonl",
        "eval_gsm8k.jsonl",
        "offenders.jsonl",
    ]
    for name in (*kept, "step_000004.jsonl", "eval_000010.jsonl", "step_1000000.jsonl"):
        (samples / name).touch()
    folder.append_metrics({"step": 3})
    folder.append_metrics({"step": 4})
    assert rewind(folder, 3) == 1
    assert sorted(p.name for p in samples.iterdir()) == sorted(kept)
    assert rewind(folder, 3) == 0


@pytest.mark.parametrize(("step", "policy_stays"), [(20, False), (60, True)])
def test_a_finished_run_that_goes_on_is_not_finished(folder, step, policy_stays):
    folder.policy.mkdir()
    summary = folder.path / "summary.json"
    for _ in range(2):  # as often as one likes
        summary.write_text('{"steps": 60}')
        folder.policy.mkdir(exist_ok=True)
        reopen(folder, step)
        assert not summary.exists()
        assert folder.policy.exists() == policy_stays
    assert json.loads((folder.path / "abandoned_summary.json-1").read_text()) == {"steps": 60}
    reopen(folder, step)  # nothing to put aside


def test_rewind_to_before_the_start_empties_the_file(folder):
    folder.append_metrics({"step": 0, "kind": "eval"})
    rewind(folder, -1)
    assert folder.read_metrics() == []
