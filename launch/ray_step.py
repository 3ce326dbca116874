"""Ray on every node of a job: started through srun, polled until each node has joined, ended with the job."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from launch.network import address_towards, choose_port, interface_address
from launch.process import COMMAND_SECONDS, Cancelled, JobError, command_output, die_with_parent, end, say
from rlvr.cluster.starting import set_ray_defaults


@dataclass(frozen=True, slots=True)
class RayStep:
    """How Ray is to be started on the nodes of the job."""

    nodes: int
    ready_seconds: float
    stop_seconds: float
    logs: Path
    port: int | None
    interface: str | None
    extra: tuple[str, ...]  # further options of `ray start`


@contextmanager
def ray_on_all_nodes(
    step: RayStep, stopping: Callable[[], bool]
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Ray on every node of the job; gives the head's address and the srun process, and ends it.

    Raises:
        RlvrError: a node has not joined in time (the message names it), or Ray ended on one.
        Cancelled: the job was ended while it waited.
    """
    names = command_output("scontrol", "show", "hostnames", os.environ["SLURM_JOB_NODELIST"]).split()
    head = os.environ["SLURMD_NODENAME"]
    if step.interface is not None:
        ip = interface_address(step.interface)
    else:
        ip = address_towards(_node_address(next(name for name in names if name != head)))
    address = f"{ip}:{choose_port(ip, step.port)}"
    set_ray_defaults()
    stem = f"{os.environ['SLURM_JOB_NAME']}-{job_number()}"
    logs = step.logs / f"{stem}-*.log"
    say(f"starting Ray on {', '.join(names)}; head at {address}; output of the nodes in {logs}")
    with (step.logs / f"{stem}-srun.log").open("ab") as srun_log:
        process = subprocess.Popen(
            [*_srun(step, step.logs / f"{stem}-%N.log"), *_node_command(step, address, head)],
            stdout=srun_log,
            stderr=srun_log,
            start_new_session=True,
            preexec_fn=die_with_parent(signal.SIGTERM),
        )
    try:
        _wait_until_joined(process, address, names, step.ready_seconds, stopping, logs)
        yield address, process
    finally:
        end(process, signal.SIGTERM, step.stop_seconds)


def job_number() -> str:
    """The number of the job as its output is named: 17, or 17_3 for a task of an array."""
    if array := os.environ.get("SLURM_ARRAY_JOB_ID"):
        return f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    return os.environ["SLURM_JOB_ID"]


def _srun(step: RayStep, log: Path) -> list[str]:
    command = ["srun", f"--nodes={step.nodes}", f"--ntasks={step.nodes}", "--ntasks-per-node=1", "--overlap"]
    command.append("--export=ALL")  # whatever sbatch was told: the token and the set-up have to get there
    command += ["--kill-on-bad-exit=1", "--open-mode=append", f"--output={log}"]
    if cpus := os.environ.get("SLURM_CPUS_PER_TASK"):
        command.append(f"--cpus-per-task={cpus}")  # a step does not inherit it
    return command


def _node_command(step: RayStep, address: str, head: str) -> list[str]:
    command = [sys.executable, "-m", "launch.node", "--address", address, "--head-node", head]
    command += ["--ready-seconds", str(step.ready_seconds)]
    if step.interface is not None:
        command += ["--interface", step.interface]
    return command + [f"--ray-arg={argument}" for argument in step.extra]


def _wait_until_joined(
    ray: subprocess.Popen[bytes],
    address: str,
    names: Sequence[str],
    ready_seconds: float,
    stopping: Callable[[], bool],
    logs: Path,
) -> None:
    started = time.monotonic()
    command = [sys.executable, "-m", "launch.ready", address, str(ready_seconds), *names]
    watcher: subprocess.Popen[bytes] | None = None
    try:
        while watcher is None or watcher.poll() is None:
            if stopping():
                raise Cancelled
            if ray.poll() is not None:
                raise JobError(f"Ray ended on some node (srun: exit code {ray.returncode}); see {logs}")
            if watcher is None and _listens(address):
                watcher = subprocess.Popen(command, preexec_fn=die_with_parent(signal.SIGKILL))
            # The watcher has a deadline of its own, which names the missing nodes.
            waited = time.monotonic() - started
            if (watcher is None and waited > ready_seconds) or waited > 2 * ready_seconds + COMMAND_SECONDS:
                raise JobError(
                    f"{names[0]}: the Ray head at {address} was not up within {ready_seconds:g} s "
                    f"(slurm.ready_seconds); see {logs}"
                )
            time.sleep(0.2)
        if watcher.returncode:
            raise JobError(f"not every node has joined Ray, see the line above and {logs}")
    finally:
        if watcher is not None:
            end(watcher, signal.SIGKILL, COMMAND_SECONDS)
    say(f"Ray is up on {len(names)} nodes after {time.monotonic() - started:.0f} s")


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((host, int(port))) == 0


def _node_address(name: str) -> str:
    for word in command_output("scontrol", "show", "node", name, "--oneliner").split():
        key, _, value = word.partition("=")
        if key == "NodeAddr":
            return value
    return name
