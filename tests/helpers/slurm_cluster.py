"""A real SLURM on the loopback interface: munged, slurmctld and two slurmd, which play the nodes n1 and n2."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol")
CONFIG = """
ClusterName=rlvrtest
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,requeue_setup_env_fail
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
EnforcePartLimits=ALL
KillWait=60
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={node1} CPUs={cpus} State=UNKNOWN
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={node2} CPUs={cpus} State=UNKNOWN
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=60 State=UP
"""


def missing() -> str:
    """Which commands of SLURM are not here; empty if all are."""
    absent = [name for name in NEEDED if shutil.which(name) is None]
    if not absent and os.geteuid() != 0:
        return "rights of root, to start slurmd"
    return ", ".join(absent)


@contextmanager
def slurm_cluster(folder: Path) -> Iterator[dict[str, str]]:
    """Start it in `folder` and end it again, by process; gives the environment in which its commands find it."""
    (folder / "state").mkdir()
    (folder / "munge").mkdir(mode=0o700)
    key = folder / "munge" / "key"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(128))
    ports = free_ports(3)
    values = dict(zip(("controller", "node1", "node2"), ports, strict=True))
    host, cpus = socket.gethostname().partition(".")[0], os.cpu_count()
    config = folder / "slurm.conf"
    config.write_text(CONFIG.format(folder=folder, host=host, cpus=cpus, user="root", **values))
    env = {**os.environ, "SLURM_CONF": str(config)}
    munge = [f"--{name}={folder}/munge/{name}" for name in ("socket", "pid-file", "log-file", "seed-file")]
    commands = [
        ["munged", "--foreground", "--force", f"--key-file={key}", "--num-threads=2", *munge],
        ["slurmctld", "-D", "-c"],
        ["slurmd", "-D", "-N", "n1"],
        ["slurmd", "-D", "-N", "n2"],
    ]
    started = []
    try:
        for command in commands:
            log = (
                folder / f"{'-'.join((command[0], command[-1].strip('-')))[:20]}.out".replace("/", "_")
            ).open("wb")
            started.append(subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True))
            log.close()
            if command[0] == "munged":
                _wait_until(lambda: (folder / "munge" / "socket").exists(), "munged")
        _wait_until(lambda: _idle_nodes(env) == 2, "two idle nodes")
        yield env
    finally:
        subprocess.run(["scancel", "--user", "root"], env=env, timeout=30, check=False)
        _wait_until(lambda: not slurm(env, "squeue", "-h"), "an empty queue", 90)
        for process in reversed(started):
            process.terminate()
        for process in reversed(started):
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def slurm(env: dict[str, str], *command: str) -> str:
    """What a SLURM command prints."""
    return subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=60, check=True
    ).stdout.strip()


def free_ports(count: int) -> list[int]:
    """TCP ports that were free a moment ago."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def _idle_nodes(env: dict[str, str]) -> int:
    done = subprocess.run(
        ["sinfo", "-h", "-N", "-t", "idle", "-o", "%N"], env=env, capture_output=True, text=True, check=False
    )
    return len(done.stdout.split())


def _wait_until(condition, what: str, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"no {what} within {seconds} s"
        time.sleep(0.1)
