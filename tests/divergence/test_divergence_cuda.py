"""The sm_90 cluster kernel: compiled and inspected wherever nvcc is, run only on a GPU."""

from __future__ import annotations

import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest
import torch

from rlvr.divergence import dist_stats
from rlvr.divergence.record import Rows, StatsRequest
from tests.helpers.divergence_cases import DEVICE, assert_like_oracle, close_pair

pytest.importorskip("triton")

from benchmarks.divergence.sass import loop_costs, run_tool
from rlvr.divergence.cuda_backend import NVCC_FLAGS, OUTPUTS, SOURCES, obstacle

NVCC = shutil.which("nvcc")
needs_nvcc = pytest.mark.skipif(
    NVCC is None, reason="nvcc is not installed: the CUDA sources were not compiled"
)


def nvcc(*arguments: str) -> str:
    run = subprocess.run([NVCC, *arguments], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    return run.stderr


@pytest.mark.slow
@needs_nvcc
def test_kernel_compiles_without_spills(tmp_path: Path) -> None:
    cubin = tmp_path / "js_cluster.cubin"
    report = nvcc(*NVCC_FLAGS, "-cubin", "-Xptxas", "-v", "-o", str(cubin), str(SOURCES / "js_cluster.cu"))
    assert "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads" in report
    registers = int(re.search(r"Used (\d+) registers", report)[1])
    assert registers <= 64, "two blocks of 512 threads no longer fit a multiprocessor"
    sass = run_tool("nvdisasm", "-c", str(cubin))
    copy, *_ = loop_costs(sass, 8)
    divergence = loop_costs(sass, 8, "LDS")[-1]
    assert copy + divergence <= 40, "instructions for each vocabulary pair"


@pytest.mark.slow
@needs_nvcc
def test_binding_compiles(tmp_path: Path) -> None:
    from torch.utils.cpp_extension import include_paths

    includes = [f"-I{path}" for path in (*include_paths(), sysconfig.get_paths()["include"])]
    options = ["-c", "-std=c++20", "-DTORCH_EXTENSION_NAME=rlvr_js_cluster", "-Xcompiler", "-fPIC", *includes]
    nvcc(*options, "-o", str(tmp_path / "binding.o"), str(SOURCES / "binding.cpp"))


@pytest.mark.parametrize(
    ("rows", "want", "reason"),
    [
        (Rows(torch.zeros(2, 16).bfloat16(), torch.zeros(2, 16).bfloat16()), {"kl_pq"}, r"not \['kl_pq'\]"),
        (Rows(torch.zeros(2, 16).bfloat16()), {"lse_p"}, "one side"),
        (Rows(torch.zeros(2, 16), torch.zeros(2, 16)), {"js"}, "bf16 logits, not torch.float32"),
        (Rows(torch.zeros(2, 12).bfloat16(), torch.zeros(2, 12).bfloat16()), {"js"}, "vocabulary 12"),
        (Rows(torch.zeros(2, 16).bfloat16(), torch.zeros(16, 2).t().bfloat16()), {"js"}, "not contiguous"),
    ],
)
def test_what_the_kernel_does_not_serve_is_said(rows: Rows, want: set[str], reason: str) -> None:
    assert re.search(reason, obstacle(rows, StatsRequest(frozenset(want))))


@pytest.mark.gpu
@pytest.mark.parametrize("vocab", [8, 4096, 50_264, 151_936, 262_144])
def test_on_a_gpu(vocab: int) -> None:
    if DEVICE.type != "cuda":
        pytest.skip("no CUDA device")
    x, y, ids = (
        value if value.dtype == torch.int64 else value.bfloat16() for value in close_pair(5, vocab, 0.5)
    )
    x[1, :3], y[1, 2:6] = -torch.inf, -torch.inf
    x[4] = -torch.inf
    why = obstacle(Rows(x, y, ids), StatsRequest(frozenset(OUTPUTS)))
    if why:
        pytest.skip(why)
    got = dist_stats(x, y, ids, want=OUTPUTS, backend="cuda")
    assert_like_oracle(got, dist_stats(x, y, ids, want=OUTPUTS, backend="oracle"))
    assert dist_stats(x[:4], x[:4], backend="cuda").js.eq(0.0).all()
