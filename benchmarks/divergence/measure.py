"""Timing and peak memory of a callable, on a CPU or a CUDA device."""

from __future__ import annotations

import ctypes
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True, slots=True)
class Measurement:
    """Run times in ms at three percentiles, and the peak memory in MB above what existed before."""

    p20_ms: float
    p50_ms: float
    p80_ms: float
    peak_mb: float


def measure(
    call: Callable[[], object], device: torch.device, seconds: float = 1.0, least: int = 5
) -> Measurement:
    """Times `call` after two warm-up runs; its peak memory is that of the second, its result included."""
    call()
    peak_mb = _peak_mb(call, device)
    times: list[float] = []
    begin = time.perf_counter()
    while len(times) < least or (time.perf_counter() - begin < seconds and len(times) < 200):
        times.append(_time_ms(call, device))
    times.sort()
    p20, p50, p80 = (times[min(len(times) - 1, round(q * (len(times) - 1)))] for q in (0.2, 0.5, 0.8))
    return Measurement(p20, p50, p80, peak_mb)


def _time_ms(call: Callable[[], object], device: torch.device) -> float:
    if device.type != "cuda":
        begin = time.perf_counter()
        call()
        return (time.perf_counter() - begin) * 1e3
    begin_event, end_event = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    # Inputs are far larger than the L2 cache, so that every run starts with a cold one.
    begin_event.record()
    call()
    end_event.record()
    torch.cuda.synchronize(device)
    return begin_event.elapsed_time(end_event)


def _peak_mb(call: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        torch.cuda.synchronize(device)
        return (torch.cuda.max_memory_allocated(device) - before) / 1e6
    ctypes.CDLL(None).malloc_trim(0)  # freed memory that the allocator kept would hide new allocations
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak of resident memory (Linux)
    before_kb = _resident_peak_kb()
    call()
    return (_resident_peak_kb() - before_kb) * 1024 / 1e6


def _resident_peak_kb() -> int:
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    if found is None:
        raise RuntimeError("/proc/self/status has no VmHWM: expected a Linux kernel that reports peak memory")
    return int(found[1])
