"""Which jobs of a sweep fit on one machine together: pure arithmetic of cores, memory and GPUs.

Jobs start in their order, each as soon as there is room for it beside those that run. Nothing overtakes, so a
job that needs much is never put off for ever by jobs that need little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Need:
    """What one job takes while it runs."""

    cores: int
    memory_mb: int
    gpus: int = 0  # whole devices
    alone: str = ""  # why nothing may run beside it; empty: something may


@dataclass(frozen=True, slots=True)
class Room:
    """What the machine has for all jobs together."""

    cores: int
    memory_mb: int
    gpus: tuple[str, ...] = ()  # devices as CUDA_VISIBLE_DEVICES names them
    jobs: int | None = None  # at most so many side by side; null: no limit


@dataclass(frozen=True, slots=True)
class Place:
    """What a running job holds."""

    need: Need
    gpus: tuple[str, ...]


def why_not(need: Need, room: Room, taken: Sequence[Place]) -> str:
    """Why a job cannot start beside those that run; empty if it can.

    On an idle machine every job can start: a run itself refuses what it cannot have.
    """
    if not taken:
        return ""
    if room.jobs is not None and len(taken) >= room.jobs:
        return f"cluster.jobs={room.jobs}"
    for reason in (_why_alone(n, room) for n in (*(place.need for place in taken), need)):
        if reason:
            return reason
    cores = sum(place.need.cores for place in taken)
    if cores + need.cores > room.cores:
        return f"cores ({cores} of {room.cores} taken, the next job needs {need.cores}; see cluster.cpus)"
    gpus = sum(len(place.gpus) for place in taken)
    if gpus + need.gpus > len(room.gpus):
        return f"GPUs ({gpus} of {len(room.gpus)} taken, the next job needs {need.gpus})"
    memory = sum(place.need.memory_mb for place in taken)
    if memory + need.memory_mb > room.memory_mb:
        return f"memory ({memory} of {room.memory_mb} MiB taken, the next job needs about {need.memory_mb})"
    return ""


def _why_alone(need: Need, room: Room) -> str:
    if need.alone:
        return need.alone
    if need.cores > room.cores:
        return f"cores (a job asks for {need.cores}, this machine has {room.cores}; see cluster.cpus)"
    if need.gpus > len(room.gpus):
        return f"GPUs (a job asks for {need.gpus}, this machine has {len(room.gpus)})"
    if need.memory_mb > room.memory_mb:
        return f"memory (a job needs about {need.memory_mb} MiB, {room.memory_mb} are free)"
    return ""


def place(need: Need, room: Room, taken: Sequence[Place]) -> Place | None:
    """Where a job goes beside those that run, or None if it has to wait.

    A job that asks for more GPUs than there are gets none assigned: it runs alone and sees the whole machine.
    """
    if why_not(need, room, taken):
        return None
    busy = {gpu for other in taken for gpu in other.gpus}
    free = [gpu for gpu in room.gpus if gpu not in busy]
    return Place(need, tuple(free[: need.gpus]) if need.gpus <= len(free) else ())


def first_wave(needs: Sequence[Need], room: Room) -> tuple[int, str]:
    """How many jobs start at once, and why the next one does not; empty if there is no next one."""
    taken: list[Place] = []
    for need in needs:
        if (found := place(need, room, taken)) is None:
            return len(taken), why_not(need, room, taken)
        taken.append(found)
    return len(taken), ""


def side_by_side(needs: Sequence[Need], room: Room) -> bool:
    """Whether two of the jobs can ever run at the same time; as nothing overtakes, neighbours decide."""
    return any(first_wave(pair, room)[0] == 2 for pair in pairwise(needs))


def devices_for(shares: Sequence[float]) -> int:
    """Whole devices for actors that ask for these shares of one: packed largest first, no share across devices.

    Seven tenths twice take two devices, not one and a half: an actor's share lies on one device.
    """
    left: list[float] = []  # of the devices in use
    for share in sorted(shares, reverse=True):
        if share <= 0:
            continue
        fitting = next((i for i, room in enumerate(left) if room >= share - 1e-9), None)
        if fitting is not None:
            left[fitting] -= share
        else:
            whole = -int(-share // 1)
            left += [0.0] * (whole - 1) + [whole - share]
    return len(left)
