"""The benchmark command runs from a checkout, prints its table of targets and writes its files."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.paths import REPOSITORY


@pytest.mark.slow
def test_benchmark_on_a_cpu(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "benchmarks.divergence",
        "--device",
        "cpu",
        "--tokens",
        "4",
        "--out",
        str(tmp_path),
    ]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=REPOSITORY)
    assert run.returncode == 0, run.stderr[-2000:]
    assert "CPU reference, JS: times faster than the plain formula" in run.stdout
    assert "not measured: no CUDA device" in run.stdout
    (targets,) = tmp_path.glob("*_targets.csv")
    with targets.open() as file:
        rows = list(csv.DictReader(file))
    assert {"item", "must", "stretch", "reached", "verdict", "device", "torch"} <= rows[0].keys()
    (times,) = (path for path in tmp_path.glob("*.csv") if path != targets)
    with times.open() as file:
        assert {"p20_ms", "p50_ms", "p80_ms", "peak_mb"} <= next(csv.DictReader(file)).keys()


GPU_SCRIPT = REPOSITORY / "benchmarks" / "divergence" / "run_on_gpu.sh"


def test_gpu_script_is_valid() -> None:
    assert subprocess.run(["bash", "-n", str(GPU_SCRIPT)], timeout=30).returncode == 0


@pytest.mark.slow
def test_gpu_script_refuses_a_machine_without_a_gpu() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    run = subprocess.run(
        ["bash", str(GPU_SCRIPT)],
        capture_output=True,
        text=True,
        timeout=120,
        env={"PYTHON": sys.executable, "PATH": "/usr/bin:/bin"},
    )
    assert run.returncode == 2
    assert "no CUDA device" in run.stderr
