"""A sweep on the real engines: jobs share the machine, broken ones are named, finished ones are not repeated."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from pathlib import Path

import pytest

from tests.helpers.disks import fill
from tests.helpers.processes import SMALL, Training, rows, train
from tests.helpers.require import skip_or_fail

pytestmark = pytest.mark.e2e


def test_jobs_side_by_side_give_the_numbers_of_a_job_alone_and_a_broken_one_is_named(tmp_path: Path) -> None:
    """Three jobs of the same numbers: two run together, the third lacks its model until it runs by itself."""
    if len(os.sched_getaffinity(0)) < 2:
        skip_or_fail("jobs of one core each share a machine of two")
    copy, missing = tmp_path / "copy", tmp_path / "model"
    shutil.copytree("rlvr/data/base_model", copy)
    command = (
        "-m",
        *(o for o in SMALL if not o.startswith("steps")),
        "steps=2",
        "cluster.cpus=1",
        f"model.path=builtin,{copy},{missing}",
        f"run.root={tmp_path}/runs",
    )
    broken = "path-" + str(missing).replace("/", "_")
    together = ["path-builtin", "path-" + str(copy).replace("/", "_")]
    code, output, run = train(*command)
    assert code == 1, output
    assert run.leaves_nothing()
    folder = tmp_path / "runs" / "sweep"
    assert f"sweep {folder}: 3 jobs to run, 2 side by side; the limit is cores" in output
    assert "1 of 3 jobs failed (2 run, 0 finished before)" in output
    assert f"\n  {broken}: exit code 1: ConfigError: model folder '{missing}' does not exist" in output
    assert f"output in {folder / broken / 'console.log'}" in output
    assert "step    1/2" not in output  # it stands in the logs
    before = {}
    for name, other in (together, together[::-1]):
        assert f"job {name}: done, accuracy " in output
        assert "step    1/2" in (folder / name / "console.log").read_text()
        before[name] = (folder / name / "summary.json").read_bytes()
        assert json.loads(before[name])["steps"] == 2
        started, ended = folder / name / "config.yaml", folder / other / "summary.json"
        assert started.stat().st_mtime < ended.stat().st_mtime, "they did not run at the same time"
    assert not (folder / broken / "summary.json").exists()

    shutil.copytree("rlvr/data/base_model", missing)
    code, output, run = train(*command)
    assert code == 0, output
    assert run.leaves_nothing()
    assert "sweep done: 1 run, 2 finished before" in output
    assert "step    1/2" in output  # alone, it writes to the console
    for name in together:
        assert (folder / name / "summary.json").read_bytes() == before[name]
        assert rows(folder / name) == rows(folder / broken)

    code, output, _ = train(*command, "learner.lr=2e-4")
    assert code == 1
    assert "learner.lr was 0.0001, is 0.0002" in output
    assert (folder / "path-builtin" / "summary.json").read_bytes() == before["path-builtin"]


def test_a_disk_that_runs_full_is_the_named_failure_of_each_job(tiny_disk: Path) -> None:
    small = (o for o in SMALL if not o.startswith("eval.every"))
    command = (
        "-m",
        *small,
        "eval.every=0",
        "run.save_every=1",
        "cluster.cpus=1",
        "seed=1,2",
        f"run.root={tiny_disk}",
    )
    code, output, run = train(*command)
    assert code == 1, output
    assert run.leaves_nothing()
    assert "2 of 2 jobs failed (0 run, 0 finished before)" in output
    assert "Traceback" not in output
    for seed in (1, 2):
        why = r"(CheckpointError: checkpoint of step 1|.*No space left on device)"
        assert re.search(rf"\n  seed-{seed}: exit code 1: {why}", output), output

    (tiny_disk / "filler").write_bytes(b"")
    fill(tiny_disk)
    code, output, _ = train(*command)
    assert code == 1
    assert (
        f"SweepError: sweep folder {tiny_disk}/sweep: cannot be written (No space left on device)" in output
    )
    assert "Traceback" not in output


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
    run.wait_for(folder / "samples" / "step_000003.jsonl")  # checkpoints are rotated
    run.signal(signal.SIGKILL)
    run.wait()
    assert run.leaves_nothing()
    assert not (folder / "summary.json").exists()

    code, output, run = train(*command)
    assert code == 0, output
    assert run.leaves_nothing()
    assert "resumed from" in output
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["steps"] == 20
    assert summary["resumed_from"] is not None
    assert [r["step"] for r in rows(folder) if r["kind"] == "train"] == list(range(1, 21))


def test_a_stopped_sweep_ends_the_jobs_that_run_and_starts_no_other(tmp_path: Path) -> None:
    shared = ("cluster.cpus=1", "cluster.jobs=2")
    run = Training(
        ("-m", *SMALL[1:], *shared, "steps=200", "learner.lr=1e-9", "seed=1,2,3", f"run.root={tmp_path}")
    )
    first = [
        tmp_path / "sweep" / f"seed-{seed}" for seed in range(1, 3) if seed <= len(os.sched_getaffinity(0))
    ]
    for folder in first:
        run.wait_for(folder / "samples" / "step_000001.jsonl")
    run.signal(signal.SIGTERM)
    code, output = run.wait()
    assert code == 130, output
    assert "stopped by the user" in output
    if len(first) > 1:  # one alone writes to the sweep's own output
        for log in (folder / "console.log" for folder in first):
            assert "stopped by the user" in log.read_text(), f"{log.read_text()[-5000:]}\n{output[-5000:]}"
    assert run.leaves_nothing()
    assert not (tmp_path / "sweep" / f"seed-{len(first) + 1}").exists()
