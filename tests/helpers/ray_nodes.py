"""Ray nodes as groups of processes of this machine that can be lost whole."""

from __future__ import annotations

import os
import subprocess
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

import psutil

from launch.node import ray_command
from rlvr.cluster.board import ACTOR
from rlvr.cluster.machine import free_port
from rlvr.timing import Deadline
from tests.helpers.paths import REPOSITORY
from tests.helpers.processes import MARK, marked

SAME_HOST = ("--min-worker-port=0", "--max-worker-port=0", "--object-store-memory=100000000")
STARTED = "Ray runtime started."
DEADLINE_SECONDS = 300  # of every wait
STARTS = 10  # Ray gives a node thirty seconds, which a busy machine may need
# So that Ray misses a node within seconds rather than half a minute.
SOON = {"RAY_health_check_period_ms": "1000", "RAY_health_check_initial_delay_ms": "1000"}


class RayNodes:
    """A cluster that grows and shrinks; the processes of a node are known by a mark in their environment."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        own = {
            "RAY_AUTH_MODE": "disabled",
            "RAY_worker_niceness": "0",
            "GLOO_SOCKET_IFNAME": "lo",
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        self.env = {**os.environ, **SOON, **own, **env}
        self._folder = folder  # short: sockets lie in it
        self._marks: dict[str, str] = {}  # by node
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, *, cpus: int) -> None:
        """Start a node, the head first; returns once it is there. A driver joins the head of several on one machine."""
        head, own_ip = not self._marks, self.address.partition(":")[0]
        command = ray_command(
            node=name, head=head, address=self.address, own_ip=own_ip, cpus=str(cpus), gpus="0"
        )
        command = [f"--temp-dir={self._folder}" if "--temp-dir" in word else word for word in command]
        self._marks[name] = uuid.uuid4().hex
        path = self._folder / f"{name}.log"
        for _ in range(STARTS):
            deadline = Deadline(DEADLINE_SECONDS)
            process = self._spawn([*command, *SAME_HOST], self._marks[name], path)
            while STARTED not in path.read_text() and process.poll() is None:
                assert not deadline.passed, path.read_text()
                time.sleep(0.1)
            if process.poll() is None:
                return
            self.lose(name)
        raise AssertionError(path.read_text())

    def _spawn(self, command: list[str], mark: str, path: Path) -> subprocess.Popen[bytes]:
        with path.open("wb") as log:
            process = subprocess.Popen(
                command,
                cwd=REPOSITORY,
                env={**self.env, MARK: mark},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._started.append(process)
        return process

    def of(self, actor: str) -> str:
        """The node on which an actor runs."""
        [node] = [
            node
            for node, mark in self._marks.items()
            if marked(mark, lambda process: process.environ().get(ACTOR) == actor)
        ]
        return node

    def actors(self) -> list[psutil.Process]:
        """Processes of actors, on every node."""
        return [p for mark in self._marks.values() for p in marked(mark, lambda p: ACTOR in p.environ())]

    def lose(self, node: str) -> None:
        """Kill every process of a node."""
        deadline = Deadline(DEADLINE_SECONDS)
        while found := marked(self._marks[node]):
            assert not deadline.passed, found
            for process in found:
                process.kill()
            time.sleep(0.05)

    def end(self) -> None:
        """Kill them all, the head last."""
        for node in reversed(self._marks):
            self.lose(node)
        for process in self._started:
            process.wait(60)
