"""Ray's own processes are looked after while actors are waited for."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlvr.cluster import ray_processes
from rlvr.errors import ActorError


@pytest.fixture
def children(tmp_path: Path) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Processes of these names that only sleep."""
    sleep = shutil.which("sleep")
    assert sleep is not None
    started = {}
    for name in (*ray_processes.NAMES, "another"):
        started[name] = subprocess.Popen([shutil.copy(sleep, tmp_path / name), "600"])
    try:
        yield started
    finally:
        ray_processes.forget()
        for child in started.values():
            child.kill()
            child.wait()


@pytest.mark.parametrize("reaped", [False, True])
@pytest.mark.parametrize("name", ray_processes.NAMES)
def test_the_end_of_one_ends_every_wait(
    children: dict[str, subprocess.Popen[bytes]], name: str, reaped: bool
) -> None:
    ray_processes.watch()
    children["another"].kill()
    ray_processes.check()
    children[name].kill()
    if reaped:
        children[name].wait()
    else:  # a zombie, as Ray leaves its own
        os.waitid(os.P_PID, children[name].pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(ActorError, match=rf"Ray's own process {name} has ended.*log folder"):
        ray_processes.check()
    ray_processes.forget()
    ray_processes.check()
