"""Run a training and watch its processes: peak host memory by actor, and on a GPU what the device reports."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ACTOR = "RLVR_ACTOR"
SAMPLE_SECONDS = 0.3


@dataclass(slots=True)
class Watched:
    """What a run took: its output, and peaks in bytes by the name of the actor."""

    output: str
    code: int
    host: Mapping[str, int] = field(default_factory=dict)  # proportional set size
    device: Mapping[str, int] = field(default_factory=dict)  # of GPU memory, by actor


def watch_training(arguments: Sequence[str], *, deadline_seconds: float, log: Path) -> Watched:
    """Run `rlvr train` with these arguments; its output goes to `log` as well.

    Raises:
        subprocess.TimeoutExpired: it was not done in time.
    """
    command = [sys.executable, "-m", "rlvr.train", *arguments, "tracking.wandb=off"]
    peaks: dict[str, int] = {}
    device: dict[str, int] = {}
    with log.open("w") as file:
        run = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
        over = threading.Event()
        watcher = threading.Thread(target=_sample, args=(run.pid, over, peaks, device), daemon=True)
        watcher.start()
        try:
            code = run.wait(deadline_seconds)
        finally:
            if run.poll() is None:
                run.terminate()
                run.wait(60)
            over.set()
            watcher.join()
    return Watched(log.read_text(), code, peaks, device)


def _sample(pid: int, over: threading.Event, peaks: dict[str, int], device: dict[str, int]) -> None:
    names: dict[int, str] = {}
    gpu = _gpu_processes()
    while not over.wait(SAMPLE_SECONDS):
        try:
            processes = psutil.Process(pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return
        now: dict[str, int] = {}
        for process in processes:
            try:
                if not names.get(process.pid):  # a worker has its name only once its own program runs
                    names[process.pid] = process.environ().get(ACTOR, "")
                if name := names[process.pid]:
                    now[name] = now.get(name, 0) + process.memory_full_info().pss
            except (psutil.Error, OSError):
                continue
        for name, size in now.items():
            peaks[name] = max(peaks.get(name, 0), size)
        for process_id, size in gpu():
            name = names.get(process_id, "others")
            device[name] = max(device.get(name, 0), size)


def _gpu_processes():  # type: ignore[no-untyped-def]
    """A function that lists (process, bytes) on the first GPU; of nothing where there is none."""
    try:
        import pynvml

        pynvml.nvmlInit()
        index = int(os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0] or 0)
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    except Exception:  # no package, no driver, a device by its UUID
        return list
    return lambda: [
        (p.pid, p.usedGpuMemory or 0) for p in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
    ]
