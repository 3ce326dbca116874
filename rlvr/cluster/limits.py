"""What a container or a batch job leaves a process of its machine: memory, cores and processes, by control groups.

psutil and the affinity mask know nothing of these limits. Both versions of control groups are read, and every group
from the process's own up to the root of what is mounted: the smallest limit counts.
"""

from __future__ import annotations

import math
import os
import resource
from dataclasses import dataclass
from pathlib import Path

import psutil

from rlvr.errors import ConfigError

ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
# At least: Ray's own processes took 150 threads on two cores, and an actor 20 before it had loaded anything.
RAY_THREADS, ACTOR_THREADS = 150, 20


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes that this process and its like may use together."""

    total: int
    available: int  # of them not in use now
    machine: int  # total of the machine, whatever the limits are

    @property
    def limited(self) -> bool:
        """Whether a control group allows less than the machine has."""
        return self.total < self.machine


def usable_memory(root: Path = ROOT, own: Path = OWN) -> Memory:
    """The machine's memory, or what the narrowest control group leaves of it."""
    machine = psutil.virtual_memory()
    total, available = machine.total, machine.available
    for folder in _groups("memory", root, own):
        limit = _number(folder, "memory.max", "memory.limit_in_bytes")
        if limit is None or limit >= machine.total:  # version 1 writes a huge number where there is none
            continue
        used = _number(folder, "memory.current", "memory.usage_in_bytes") or 0
        free = limit - used + _reclaimable(folder)
        total, available = min(total, limit), min(available, max(0, free))
    return Memory(total, available, machine.total)


def usable_cores(root: Path = ROOT, own: Path = OWN) -> int:
    """Cores that this process may run on, or as many as the narrowest quota of CPU time comes to, rounded up."""
    cores = len(os.sched_getaffinity(0))
    for folder in _groups("cpu", root, own):
        if (share := _quota(folder)) is not None:
            cores = min(cores, max(1, math.ceil(share)))
    return cores


def processes_left(root: Path = ROOT, own: Path = OWN) -> float:
    """Processes and threads that this user may still start here; infinite where nothing bounds them."""
    left = math.inf
    allowed, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    if allowed != resource.RLIM_INFINITY and os.geteuid() != 0:  # the system does not hold root to it
        left = allowed - _threads_of(os.getuid())
    for folder in _groups("pids", root, own):
        if (limit := _number(folder, "pids.max")) is not None:
            left = min(left, limit - (_number(folder, "pids.current") or 0))
    return left


def _threads_of(user: int) -> int:
    processes = (process.info for process in psutil.process_iter(["uids", "num_threads"]))
    return sum(
        found["num_threads"] or 0 for found in processes if found["uids"] and found["uids"].real == user
    )


def check_processes(actors: int) -> None:
    """Refuse to start a Ray that would hang, and this process with it, for want of threads.

    Raises:
        ConfigError: fewer are left than it needs with so many actors.
    """
    left, needed = processes_left(), RAY_THREADS + actors * ACTOR_THREADS
    if left < needed:
        raise ConfigError(
            f"cluster.address=local: this user may start {max(left, 0):.0f} more processes and threads here, and Ray "
            f"with {actors} actors needs at least {needed}. Raise the limit (ulimit -u, or pids.max of the container), "
            "or end other processes."
        )


def _groups(controller: str, root: Path, own: Path) -> list[Path]:
    """The folders of this process's group and of those around it, as far as they are mounted here.

    In a container the path may be the host's, and what is mounted begins at the container's own group.
    """
    try:
        lines = [line.split(":", 2) for line in own.read_text().splitlines()]
    except OSError:  # no such file: no Linux, or it is hidden
        return []
    found: dict[Path, None] = {}
    for _, names, path in lines:
        if names and controller not in names.split(","):
            continue
        top = root / controller if names else root
        inside = Path(path.lstrip("/"))
        for folder in (inside, *inside.parents):
            if ".." not in folder.parts and (top / folder).is_dir():
                found[top / folder] = None
    return list(found)


def _quota(folder: Path) -> float | None:
    """Cores' worth of CPU time that a group may use; None: no bound."""
    words = _text(folder / "cpu.max").split()
    if not words:
        words = [_text(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
    if len(words) != 2 or not all(word.isdecimal() for word in words):  # "max", or -1
        return None
    quota, period = map(int, words)
    return quota / period if quota and period else None


def _reclaimable(folder: Path) -> int:
    """Pages of files that are in use by nobody: they count as used, and go when memory is asked for."""
    counts = dict(line.split(" ", 1) for line in _text(folder / "memory.stat").splitlines() if " " in line)
    return int(counts.get("total_inactive_file", counts.get("inactive_file", "0")))


def _number(folder: Path, *names: str) -> int | None:
    """The number in the first of these files that holds one."""
    texts = (_text(folder / name).strip() for name in names)
    return next((int(text) for text in texts if text.isdecimal()), None)


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:  # a group of the other version has other files, and the root's has none
        return ""
