"""The commands of docker/compose.yaml, as processes of this host: two Ray nodes, and a run that crosses them."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from rlvr.cluster.machine import free_port
from tests.helpers.paths import REPOSITORY
from tests.helpers.processes import MARK, SMALL, marked

pytestmark = pytest.mark.e2e

SERVICES = yaml.safe_load((REPOSITORY / "docker/compose.yaml").read_text())["services"]
# Containers have a range of ports each; nodes on one host must not share one.
SAME_HOST = "ray start --min-worker-port=0 --max-worker-port=0"
# docker/health.py looks at all nodes of its container; here, at those of this test among others of the host.
HEALTH = """
import runpy, sys
health = runpy.run_path("docker/health.py")
nodes = [n for n in health["nodes_here"]() if n.gcs_address.endswith(":" + sys.argv[1])]
healthy, why = health["verdict"](nodes, ray_expected=True)
print(why)
sys.exit(not healthy)
"""


@dataclass
class Host:
    """Services of the compose file, started on this host; their descendants carry a mark in the environment."""

    folder: Path  # of Ray's session; short, because Unix sockets lie in it
    port: int = field(default_factory=free_port)
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    token: str = field(default_factory=lambda: secrets.token_hex(32))
    started: dict[str, subprocess.Popen[str]] = field(default_factory=dict)

    def env(self, service: str) -> dict[str, str]:
        """What the compose file sets, this host's paths, and the mark."""
        return {
            **os.environ,
            **SERVICES[service]["environment"],
            "RAY_AUTH_TOKEN": self.token,
            "RAY_TMPDIR": str(self.folder),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            MARK: self.mark,
        }

    def command(self, service: str, *arguments: str) -> list[str]:
        """The service's command as its container would run it, at this test's port; `arguments` as of `run`."""
        entry = SERVICES[service].get("entrypoint", ["tini", "--"])
        assert entry[:2] == ["tini", "--"]
        given: Any = list(arguments) or SERVICES[service]["command"]
        words = entry[2:] + (shlex.split(given) if isinstance(given, str) else given)
        if words[:2] == ["ray", "start"]:
            words = [*shlex.split(SAME_HOST), *words[2:]]
        return [
            word.replace("head:6379", f"127.0.0.1:{self.port}")
            .replace("--port=6379", f"--port={self.port}")
            .replace("ray start", SAME_HOST)
            .replace("$$", "$")
            for word in words
        ]

    def start(self, service: str, *arguments: str) -> subprocess.Popen[str]:
        """Start a service; what it prints goes to <folder>/<service>.log."""
        with (self.folder / f"{service}.log").open("w") as log:
            self.started[service] = subprocess.Popen(
                self.command(service, *arguments),
                cwd=REPOSITORY,
                env=self.env(service),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                text=True,
            )
        return self.started[service]

    def printed(self, service: str) -> str:
        return (self.folder / f"{service}.log").read_text()

    def poll(self, service: str, what: str, ready: Callable[[], bool], seconds: float = 400) -> None:
        """Return once `ready`; fails with what the service printed if it ends first or takes too long."""
        end = time.monotonic() + seconds
        while not ready():
            running = self.started[service].poll() is None
            assert running, f"{service} ended before {what}:\n{self.printed(service)}"
            assert time.monotonic() < end, f"{what}: not within {seconds:g} s\n{self.printed(service)}"
            time.sleep(0.2)

    def health(self, token: str | None = None) -> str:
        """What the health check prints, if it passes with this token; else nothing."""
        done = subprocess.run(
            [sys.executable, "-c", HEALTH, str(self.port)],
            cwd=REPOSITORY,
            env=self.env("head") | ({} if token is None else {"RAY_AUTH_TOKEN": token}),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return "" if done.returncode else done.stdout.strip()

    def processes(self) -> list[psutil.Process]:
        """Living processes of this test."""
        return marked(self.mark)

    def nodes_of_actors(self) -> dict[str, int]:
        """{actor: process id of the raylet that it belongs to}."""
        found = {}
        for process in self.processes():
            try:
                if name := process.environ().get("RLVR_ACTOR"):
                    found.setdefault(name, process.ppid())
            except psutil.NoSuchProcess:
                continue
        return found


@pytest.fixture
def host() -> Iterator[Host]:
    folder = Path(tempfile.mkdtemp(prefix="rlvr"))
    host = Host(folder)
    yield host
    for process in host.processes():
        process.kill()
    shutil.rmtree(folder, ignore_errors=True)  # a process that is just dying may still write


def test_a_run_crosses_the_two_nodes_of_the_compose_file(host: Host, tmp_path: Path) -> None:
    head = host.start("head")
    host.poll("head", "its health", lambda: host.health() == "1 Ray node(s) alive")
    worker = host.start("worker")
    host.poll("worker", "its health", lambda: host.health() == "2 Ray node(s) alive")
    assert host.health(token="0" * 64) == ""

    # Its nodes share one machine with whatever else is tested.
    patient = ("learner.start_deadline_seconds=900",)
    train = host.start("train", *SMALL, *patient, f"run.root={tmp_path}", "run.name=crossing")
    folder = tmp_path / "crossing"
    host.poll("train", "the first step", (folder / "samples" / "step_000001.jsonl").exists, 1200)
    nodes = host.nodes_of_actors()
    assert set(nodes) == {"engine-0", "learner-0"}
    assert len(set(nodes.values())) == 2, "engine and learner share a node"

    assert train.wait(timeout=900) == 0, host.printed("train")
    assert "ray: 3 node(s), 2 CPUs" in host.printed("train")  # the driver's own node has no slots
    assert json.loads((folder / "summary.json").read_text())["steps"] == 4
    assert head.poll() is None, host.printed("head")

    for process in (worker, head):  # as `docker compose down` stops them
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=120)
