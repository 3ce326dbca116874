"""A sweep on the real engines: a broken job is named and does not stop the others, finished ones are not repeated."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest

from .processes import SMALL, Training, rows, train

pytestmark = pytest.mark.e2e


def test_a_broken_job_is_named_and_a_repeat_runs_only_that(tmp_path: Path) -> None:
    missing = tmp_path / "model"
    command = (
        "-m",
        *(o for o in SMALL if not o.startswith("steps")),
        "steps=2",
        f"model.path={missing},builtin",
        f"run.root={tmp_path}/runs",
    )
    broken = "path-" + str(missing).replace("/", "_")
    code, output, run = train(*command)
    assert code == 1, output
    assert run.leaves_nothing()
    assert "1 of 2 jobs failed (1 run, 0 finished before)" in output
    assert f"\n  {broken}: exit code 1" in output
    folder = tmp_path / "runs" / "sweep"
    before = (folder / "path-builtin" / "summary.json").read_bytes()
    assert json.loads(before)["steps"] == 2
    assert not (folder / broken / "summary.json").exists()

    shutil.copytree("rlvr/data/base_model", missing)
    code, output, run = train(*command)
    assert code == 0, output
    assert run.leaves_nothing()
    assert "sweep done: 1 run, 1 finished before" in output
    assert (folder / broken / "summary.json").exists()
    assert (folder / "path-builtin" / "summary.json").read_bytes() == before

    code, output, _ = train(*command, "learner.lr=2e-4")
    assert code == 1
    assert "learner.lr was 0.0001, is 0.0002" in output
    assert (folder / "path-builtin" / "summary.json").read_bytes() == before


def test_a_killed_sweep_takes_its_job_along_and_goes_on_from_the_checkpoint(tmp_path: Path) -> None:
    command = (
        "-m",
        *(o for o in SMALL if not o.startswith(("steps", "eval.every"))),
        "steps=20",
        "eval.every=0",
        "run.save_every=2",
        "seed=choice(7)",
        f"run.root={tmp_path}",
    )
    run = Training(command)
    folder = tmp_path / "sweep" / "seed-7"
    run.wait_for(folder / "checkpoints" / "step_000002")
    run.signal(signal.SIGKILL)
    run.wait()
    assert run.leaves_nothing(60)
    assert not (folder / "summary.json").exists()

    code, output, run = train(*command)
    assert code == 0, output
    assert run.leaves_nothing()
    assert "resumed from" in output
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["steps"] == 20
    assert summary["resumed_from"] is not None
    assert [r["step"] for r in rows(folder) if r["kind"] == "train"] == list(range(1, 21))


def test_a_stopped_sweep_ends_its_job_and_starts_no_other(tmp_path: Path) -> None:
    run = Training(("-m", *SMALL[1:], "steps=200", "seed=1,2", f"run.root={tmp_path}"))
    run.wait_for(tmp_path / "sweep" / "seed-1" / "samples" / "step_000001.jsonl")
    run.signal(signal.SIGTERM)
    code, output = run.wait()
    assert code == 130, output
    assert output.count("stopped by the user") == 2  # the job and the sweep
    assert run.leaves_nothing()
    assert not (tmp_path / "sweep" / "seed-2").exists()
