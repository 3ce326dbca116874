"""Launches the sm_90 cluster kernel, which is built at its first use; Triton takes over where it cannot serve.

The kernel has been compiled and its machine code inspected, but it has never run: "auto" does not choose it.
"""

from __future__ import annotations

import functools
import importlib.util
import math
import shutil
import warnings
from pathlib import Path
from types import ModuleType

import torch
from torch.utils import cpp_extension

from rlvr.divergence.building import own_ninja
from rlvr.divergence.checks import check_finite_rows
from rlvr.divergence.record import DistStats, Rows, StatsRequest
from rlvr.divergence.triton_backend import triton_stats

SOURCES = Path(__file__).parent / "cuda"
OUTPUTS = ("js", "lse_p", "lse_q", "logp_p", "logp_q")
MAX_VOCAB = 450_000  # what sixteen blocks hold; the launcher checks the exact number
NVCC_FLAGS = ["-arch=sm_90a", "-O3", "-std=c++17"]


def cuda_stats(rows: Rows, request: StatsRequest, out: DistStats) -> None:
    """Writes the wanted statistics of `rows` into `out`.

    Raises ValueError for NaN or +inf logits, unless the request says not to look.
    """
    why = obstacle(rows, request)
    if why:
        warnings.warn(f"divergence: using Triton instead of the CUDA kernel, because {why}", stacklevel=4)
        triton_stats(rows, request, out)
        return
    x, y = rows.x, rows.y
    assert y is not None  # `obstacle` says so otherwise
    n_tokens, vocab = x.shape
    results = {name: getattr(out, name) for name in OUTPUTS if request.has(name)}
    for name in ("lse_p", "lse_q"):
        results.setdefault(name, x.new_empty(n_tokens, dtype=torch.float32))
    ids = None if rows.ids is None else rows.ids.long().contiguous()
    with torch.cuda.device_of(x):
        _module().js_cluster(
            [x.data_ptr(), y.data_ptr(), 0 if ids is None else ids.data_ptr()],
            [results[name].data_ptr() if name in results else 0 for name in OUTPUTS],
            n_tokens, vocab, x.stride(0), y.stride(0), math.log2(math.e) / request.temperature,
            torch.cuda.current_stream(x.device).cuda_stream,
        )  # fmt: skip
    if request.validate:
        check_finite_rows("logits_p", results["lse_p"], rows.first)
        check_finite_rows("logits_q", results["lse_q"], rows.first)


def obstacle(rows: Rows, request: StatsRequest) -> str:
    """Says why the kernel cannot serve these rows, or returns an empty string."""
    x, y = rows.x, rows.y
    extra = sorted(request.want.difference(OUTPUTS))
    if extra or y is None:
        return f"it computes {list(OUTPUTS)} of a pair only, not {extra or 'one side'}"
    if rows.x_is_delta or rows.lse_p is not None or rows.lse_q is not None:
        return "it takes plain logits, neither differences nor given normalisers"
    if not x.dtype == y.dtype == torch.bfloat16:
        return f"it takes bf16 logits, not {x.dtype} and {y.dtype}"
    if x.shape[1] % 8 or x.shape[1] > MAX_VOCAB:
        return f"the vocabulary {x.shape[1]} is not a multiple of 8 up to {MAX_VOCAB}"
    if any(side.stride(1) != 1 or side.stride(0) % 8 or side.data_ptr() % 16 for side in (x, y)):
        return "the rows are not contiguous and aligned to 16 bytes"
    if torch.cuda.get_device_capability(x.device) != (9, 0):
        return f"it needs compute capability 9.0, not {torch.cuda.get_device_capability(x.device)}"
    return _build_obstacle()


@functools.cache
def _build_obstacle() -> str:
    if not (SOURCES / "js_cluster.cu").exists():
        return f"its sources are not installed at {SOURCES}"
    if shutil.which("nvcc") is None and cpp_extension.CUDA_HOME is None:
        return "nvcc was not found"
    if importlib.util.find_spec("ninja") is None and shutil.which("ninja") is None:
        return "ninja, which builds it, was not found"
    try:
        _module()
    except (
        RuntimeError,
        OSError,
        ImportError,
    ) as error:  # a compiler's failure is for the user to read, not fatal
        return f"it could not be built: {error}"
    return ""


@functools.cache
def _module() -> ModuleType:
    with own_ninja():
        return cpp_extension.load(
            name="rlvr_js_cluster",
            sources=[str(SOURCES / "js_cluster.cu"), str(SOURCES / "binding.cpp")],
            extra_cuda_cflags=NVCC_FLAGS,
            with_cuda=True,
        )
