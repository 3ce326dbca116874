"""Every benchmark runs, at its smallest: what they measure at this size means nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.paths import REPOSITORY

pytestmark = pytest.mark.e2e


def run(*arguments: str, timeout: float = 1500) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=REPOSITORY, capture_output=True, text=True, timeout=timeout
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def test_step(tmp_path: Path) -> None:
    small = ("--steps", "1", "--warm-up", "1", "--rounds", "1", "--prompts", "4", "--threads", "1")
    told = run("-m", "benchmarks.step", *small, "--out", str(tmp_path))
    [file] = tmp_path.glob("step-*.json")
    report = json.loads(file.read_text())
    assert report["step over bare (at most 1.5)"] > 0
    assert report["tokens a step (both)"] == report["tokens a step (bare)"]  # the same seeds, the same tokens
    assert "overhead share of a step" in told


def test_push(tmp_path: Path) -> None:
    told = run("-m", "benchmarks.push", "--steps", "1", "--dtypes", "bfloat16", "--out", str(tmp_path))
    [file] = tmp_path.glob("push-*.json")
    rows = json.loads(file.read_text())["rows"]
    assert [row["way"] for row in rows] == 2 * ["sparse", "whole (off)", "whole (auto)"]
    for sparse, off, fallback in (rows[:3], rows[3:]):
        assert 0 < sparse["changed"] < 0.5
        assert 0 < sparse["bytes"] < off["bytes"] == fallback["bytes"]
    assert "| bfloat16 | 1e-06 |" in told


def test_the_gpu_suite_rehearses_on_cpu(tmp_path: Path) -> None:
    """All stages, at sizes where nothing that they measure means anything: the suite cannot rot before it has a GPU."""
    told = run(
        *("-m", "benchmarks.gpu_suite", "--cpu", "--out", str(tmp_path), "--folder", str(tmp_path / "work")),
    )
    [file] = tmp_path.glob("gpu_suite_cpu_*.json")
    record = json.loads(file.read_text())
    assert set(record["stages"]) == {"kernels", "quickstart", "colocated", "push"}
    assert {"torch", "ray", "deepspeed"} <= set(record["about"]["versions"])
    found = {name: stage["result"] for name, stage in record["stages"].items()}
    assert found["quickstart"]["largest mismatch"] < 1e-3
    assert found["colocated"]["verl"]["timing_s/step"] > 0
    assert found["colocated"]["nemo_rl"]["Tokens/sec/gpu"] > 0
    assert any(line.startswith("learner rank") for line in found["colocated"]["plan"])
    host = found["colocated"]["memory"]["host GB (proportional set size)"]
    assert min(host["engine-0"], host["learner-0"]) > 0.2  # torch alone takes that
    assert found["push"]["gloo"]["equal"] is not False
    assert "results in" in told


def test_cross_sampling() -> None:
    told = run(
        "benchmarks/cross_sampling.py", "--problems", "2", "--samples", "1", "--repeats", "1", "--single", "1"
    )
    assert json.loads(told.splitlines()[-1])


def test_reward() -> None:
    told = run("benchmarks/reward.py", "--count", "40", "--sample", "10", "--repeats", "1")
    assert {json.loads(line)["measurement"] for line in told.splitlines()} >= {
        "toy_step",
        "throughput",
        "hangs",
    }


def test_divergence(tmp_path: Path) -> None:
    run("-m", "benchmarks.divergence", "--device", "cpu", "--tokens", "4", "--out", str(tmp_path))
    assert list(tmp_path.glob("divergence_*.csv"))


def test_record_compares_with_itself() -> None:
    from benchmarks.record import compare, differences

    record = {
        "quickstart": {"train 1": {"loss": 0.5, "nan": float("nan")}},
        "sweep": {"0": [1, 2]},
        "about": {},
    }
    assert compare(record, record) == 0
    other = {**record, "sweep": {"0": [1, 3]}}
    assert compare(record, other) == 1
    more = {**record, "sweep": {**record["sweep"], "1": [1]}}
    assert (compare(record, more), compare(more, record)) == (0, 1)  # only what is lost is a difference
    assert list(differences(record, other)) == [("sweep.0.1", 2, 3)]
