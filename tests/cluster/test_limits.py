"""Limits of control groups, as the kernel shows them in both versions."""

from __future__ import annotations

import math
import os
import resource
import threading
from pathlib import Path

import psutil
import pytest

from rlvr.cluster import start
from rlvr.cluster.limits import check_processes, processes_left, usable_cores, usable_memory
from rlvr.config import ClusterConfig
from rlvr.errors import ConfigError

GIB = 1 << 30
CORES = len(os.sched_getaffinity(0))


def tree(folder: Path, lines: str, files: dict[str, str]) -> dict[str, Path]:
    """/sys/fs/cgroup and /proc/self/cgroup of a process in some container."""
    for name, text in files.items():
        path = folder / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "own").write_text(lines)
    return {"root": folder / "cgroup", "own": folder / "own"}


V1 = "9:name=systemd:/\n4:memory:/docker/abc\n1:cpu,cpuacct:/docker/abc\n0::/\n"
PAGES = "cache 5\ninactive_file 1\ntotal_inactive_file 268435456\n"
LIMITED = {
    "version 2, own namespace": (
        "0::/\n",
        {
            "memory.max": f"{2 * GIB}\n",
            "memory.current": f"{GIB}\n",
            "memory.stat": "anon 7\ninactive_file 268435456\n",
        },
    ),
    "version 2, the limit further up": (
        "0::/job_1/step_0\n",
        {
            "job_1/step_0/memory.max": "max\n",
            "job_1/memory.max": f"{2 * GIB}\n",
            "job_1/memory.current": f"{GIB}\n",
            "job_1/memory.stat": "inactive_file 268435456\n",
        },
    ),
    "version 1, the host's path where the container's is mounted": (
        V1,
        {
            "memory/memory.limit_in_bytes": f"{2 * GIB}\n",
            "memory/memory.usage_in_bytes": f"{GIB}\n",
            "memory/memory.stat": PAGES,
        },
    ),
}


@pytest.mark.parametrize("case", LIMITED)
def test_memory_is_what_the_control_group_allows_and_pages_of_files_can_go(tmp_path: Path, case: str):
    found = usable_memory(**tree(tmp_path, *LIMITED[case]))
    assert found.limited
    assert found.total == 2 * GIB
    assert found.available == min(GIB + 268435456, psutil.virtual_memory().available)


@pytest.mark.parametrize(
    ("lines", "files"),
    [
        ("0::/\n", {"memory.max": "max\n", "cpu.max": "max 100000\n"}),
        (
            V1,
            {
                "memory/memory.limit_in_bytes": "9223372036854771712\n",
                "cpu/cpu.cfs_quota_us": "-1\n",
                "cpu/cpu.cfs_period_us": "100000\n",
            },
        ),
        ("0::/../other\n", {"../other/memory.max": "1\n", "../other/cpu.max": "1 100000\n"}),
        ("", {}),
    ],
)
def test_without_a_limit_the_machine_counts(tmp_path: Path, lines: str, files: dict[str, str]):
    paths = tree(tmp_path, lines, files)
    found = usable_memory(**paths)
    assert not found.limited
    assert found.total == found.machine == psutil.virtual_memory().total
    assert usable_cores(**paths) == CORES


def test_a_quota_of_cpu_time_counts_as_the_cores_that_it_comes_to(tmp_path: Path):
    assert usable_cores(**tree(tmp_path / "v2", "0::/\n", {"cpu.max": "50000 100000\n"})) == 1
    one = {"cpu/cpu.cfs_quota_us": "90000\n", "cpu/cpu.cfs_period_us": "100000\n"}
    assert usable_cores(**tree(tmp_path / "v1", V1, one)) == 1
    wide = tree(tmp_path / "wide", "0::/\n", {"cpu.max": f"{(CORES + 1) * 100000} 100000\n"})
    assert usable_cores(**wide) == CORES


def test_a_system_without_control_groups_has_its_own_memory_and_cores(tmp_path: Path):
    nowhere = {"root": tmp_path / "no", "own": tmp_path / "such"}
    assert not usable_memory(**nowhere).limited
    assert usable_cores(**nowhere) == CORES


PIDS = {
    "version 2, the narrowest counts": (
        "0::/job/step\n",
        {"job/step/pids.max": "max\n", "job/pids.max": "100\n", "job/pids.current": "64\n"},
        36,
    ),
    "version 1": (
        "4:pids:/docker/abc\n0::/\n",
        {"pids/pids.max": "50\n", "pids/pids.current": "60\n"},
        -10,
    ),
    "no bound": ("0::/\n", {"pids.max": "max\n"}, math.inf),
    "version 1, the group of another controller": (
        "5:memory:/other\n4:pids:/docker/abc\n",
        {"pids/other/pids.max": "1\n", "pids/pids.max": "50\n", "pids/pids.current": "20\n"},
        30,
    ),
}


@pytest.mark.parametrize("case", PIDS)
def test_processes_are_what_the_control_group_leaves(
    tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    lines, files, left = PIDS[case]
    assert processes_left(**tree(tmp_path, lines, files)) == left


@pytest.mark.parametrize(("user", "limit"), [(0, 5), (1, resource.RLIM_INFINITY)])
def test_neither_root_nor_a_user_without_a_limit_is_held_to_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: int, limit: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (limit, limit))
    monkeypatch.setattr(os, "geteuid", lambda: user)
    assert processes_left(**tree(tmp_path, "0::/\n", {})) == math.inf


def test_the_limit_of_a_user_counts_the_threads_of_all_its_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (100_000, 100_000))
    monkeypatch.setattr(os, "geteuid", lambda: 1)
    before = processes_left()
    end = threading.Event()
    more = [threading.Thread(target=end.wait) for _ in range(50)]
    for thread in more:
        thread.start()
    during = processes_left()
    end.set()
    for thread in more:
        thread.join()
    assert 20 < before - during < 100  # others may come and go meanwhile
    assert before < 100_000


def test_as_many_processes_as_are_needed_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlvr.cluster.limits.processes_left", lambda: 190)
    check_processes(2)
    with pytest.raises(ConfigError, match="may start 190 more"):
        check_processes(3)


def test_too_few_processes_are_refused_before_ray_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlvr.cluster.limits.processes_left", lambda: 189)
    with pytest.raises(
        ConfigError, match=r"may start 189 more .*with 2 actors needs at least 190.*ulimit -u"
    ):
        start(ClusterConfig(), actors=2)
