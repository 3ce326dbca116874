"""Who runs beside whom: never more than the machine has, every job in the end, GPUs apart."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.sweep.slots import Need, Place, Room, devices_for, first_wave, place, side_by_side, why_not

ROOM = Room(cores=4, memory_mb=1000, gpus=("0", "2", "GPU-x"))
needs = st.builds(
    Need,
    cores=st.integers(1, 6),
    memory_mb=st.integers(0, 1200),
    gpus=st.integers(0, 4),
    alone=st.sampled_from(["", "", "", "it wants to be"]),
)
rooms = st.builds(
    Room,
    cores=st.integers(1, 8),
    memory_mb=st.integers(0, 3000),
    gpus=st.sets(st.sampled_from("01234567"), max_size=6).map(lambda s: tuple(sorted(s))),
    jobs=st.none() | st.integers(1, 3),
)


@pytest.mark.parametrize(
    ("need", "running", "why"),
    [
        (Need(9, 9999, 9), [], ""),
        (Need(2, 100), [Need(2, 100)], ""),
        (Need(2, 500, 1), [Need(2, 500, 2)], ""),
        (Need(3, 100), [Need(2, 100)], "cores (2 of 4 taken, the next job needs 3"),
        (Need(1, 501), [Need(1, 500)], "memory (500 of 1000 MiB taken, the next job needs about 501)"),
        (Need(1, 1, 2), [Need(1, 1, 2)], "GPUs (2 of 3 taken, the next job needs 2)"),
        (Need(5, 1), [Need(1, 1)], "cores (a job asks for 5, this machine has 4"),
        (Need(1, 1), [Need(1, 1, 4)], "GPUs (a job asks for 4, this machine has 3)"),
        (Need(1, 1), [Need(1, 1001)], "memory (a job needs about 1001 MiB, 1000 are free)"),
        (Need(1, 1, alone="a reason"), [Need(1, 1)], "a reason"),
        (Need(1, 1), [Need(1, 1, alone="a reason")], "a reason"),
    ],
)
def test_what_fits_and_why_not(need, running, why):
    taken: list[Place] = []
    for other in running:
        taken.append(place(other, ROOM, taken))
    said = why_not(need, ROOM, taken)
    assert said.startswith(why) if why else said == ""
    assert (place(need, ROOM, taken) is None) == bool(why)


def test_a_cap_on_jobs_holds():
    room = Room(8, 8000, jobs=2)
    taken = [Place(Need(1, 1), ())]
    assert place(Need(1, 1), room, taken) is not None
    assert why_not(Need(1, 1), room, [*taken, *taken]) == "cluster.jobs=2"


def test_devices_are_handed_out_by_name_and_a_job_too_large_sees_all():
    first = place(Need(1, 1, 2), ROOM, [])
    assert first.gpus == ("0", "2")
    assert place(Need(1, 1, 1), ROOM, [first]).gpus == ("GPU-x",)
    assert place(Need(1, 1, 0), ROOM, [first]).gpus == ()
    assert place(Need(1, 1, 4), ROOM, []).gpus == ()  # CUDA_VISIBLE_DEVICES stays as it is


@pytest.mark.parametrize(
    ("shares", "devices"),
    [
        ([], 0),
        ([0.0, 0.0], 0),
        ([0.5, 0.5], 1),
        ([0.5, 0.25, 0.25], 1),
        ([0.1] * 10, 1),
        ([0.3] * 3 + [0.1], 1),
        ([0.5, 0.5, 0.5], 2),
        ([0.7, 0.7], 2),  # 1.4 together, but a share lies on one device
        ([0.6, 0.6, 0.4], 2),
        ([2.0, 1.0], 3),
        ([2.0, 0.5], 3),
        ([8.0], 8),
    ],
)
def test_shares_of_gpus_become_whole_devices(shares, devices):
    assert devices_for(shares) == devices


def simulate(queue: Sequence[Need], room: Room, ends: Sequence[int]) -> list[list[Need]]:
    """Run the queue as the sweep does; `ends` picks which running job ends next. Returns who ran together."""
    waiting, running, history, moment = list(queue), [], [], 0
    while waiting or running:
        while waiting and (found := place(waiting[0], room, running)):
            waiting.pop(0)
            running.append(found)
            history.append(list(running))
        assert running, "a job waits on an idle machine"
        del running[ends[moment % len(ends)] % len(running)]
        moment += 1
    return history


@given(st.lists(needs, max_size=12), rooms, st.lists(st.integers(0, 5), min_size=1, max_size=12))
def test_every_job_runs_in_its_turn_and_nothing_is_given_twice(queue, room, ends):
    history = simulate(queue, room, ends)
    assert [together[-1].need for together in history] == queue  # each once, in order
    for together in history:
        devices = [gpu for p in together for gpu in p.gpus]
        assert len(devices) == len(set(devices))
        assert set(devices) <= set(room.gpus)
        if len(together) > 1:
            assert sum(p.need.cores for p in together) <= room.cores
            assert sum(p.need.memory_mb for p in together) <= room.memory_mb
            assert all(len(p.gpus) == p.need.gpus for p in together)
            assert not any(p.need.alone for p in together)
            assert room.jobs is None or len(together) <= room.jobs
    most = max((len(together) for together in history), default=0)
    assert side_by_side(queue, room) or most <= 1


@given(st.lists(needs, min_size=1, max_size=12), rooms)
def test_the_first_wave_is_what_starts_at_once(queue, room):
    count, limit = first_wave(queue, room)
    history = simulate(queue, room, [0])
    assert count == sum(len(together) == i + 1 for i, together in enumerate(history))  # before any ended
    assert bool(limit) == (count < len(queue))
