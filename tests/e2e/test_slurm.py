"""Jobs on a real SLURM with two nodes: to the end, through a pause and a crash, cancelled, refused."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.helpers import preloaded
from tests.helpers.processes import MARK, SMALL, marked, rows
from tests.helpers.require import skip_or_fail
from tests.helpers.slurm_cluster import missing, slurm, slurm_cluster

pytestmark = pytest.mark.e2e
STEPS = 12
# Every step counts: a checkpoint each, no sampling of other lengths, and the cores of the job.
RUN = (
    *(o for o in SMALL if not o.startswith(("steps", "eval.every"))),
    f"steps={STEPS}",
    "eval.every=0",
    "run.save_every=2",
)
TWO_NODES = ("slurm.nodes=2", "slurm.cpus_per_node=1", "slurm.time=30")
ONE_NODE = ("slurm.nodes=1", "slurm.cpus_per_node=1", "slurm.time=30")


@dataclass(frozen=True)
class Site:
    """The cluster, and a folder for the jobs' output."""

    env: dict[str, str]
    logs: Path

    def launch(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the launcher as a user does."""
        logs = f"slurm.logs={self.logs}"
        return preloaded.run("launch.slurm", logs, *arguments, variables=self.env, timeout=120)

    def submit(self, *arguments: str) -> str:
        """Submit and return the job's number."""
        done = self.launch(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()[2]

    def output(self) -> str:
        """Everything that the jobs have printed."""
        return "\n".join(p.read_text() for p in sorted(self.logs.glob("*.log")))

    def state(self, job: str) -> str:
        """JobState of a job, while SLURM remembers it."""
        words = slurm(self.env, "scontrol", "show", "job", job, "--oneliner").split()
        return next(w.removeprefix("JobState=") for w in words if w.startswith("JobState="))

    def finished(self, job: str, timeout: float = 900) -> str:
        """Wait until a job has ended; its state."""
        self.wait_until(
            lambda: self.state(job) not in ("PENDING", "RUNNING", "COMPLETING", "REQUEUED"), timeout
        )
        return self.state(job)

    def start_now(self, job: str) -> None:
        """Let a requeued job start soon; SLURM holds it back for two minutes."""
        self.wait_until(lambda: self.state(job) == "PENDING")
        # slurmd refuses credentials made in the very second in which it revoked the last attempt's
        time.sleep(2)
        update = ["scontrol", "update", f"JobId={job}", "StartTime=now"]

        def started() -> bool:  # refused while the job's last attempt is being cleared away
            if self.state(job) == "PENDING":
                subprocess.run(update, env=self.env, capture_output=True, timeout=60, check=False)
            return self.state(job) == "RUNNING"

        self.wait_until(started)

    def wait_until(self, condition, timeout: float = 900) -> None:
        """Poll; shows the jobs' output if it takes too long."""
        end = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < end, f"waited {timeout} s\n{self.output()}"
            time.sleep(0.2)

    def processes(self, *words: str) -> list[psutil.Process]:
        """Living processes of this cluster's jobs whose command line has all the words."""

        def of_a_job(process: psutil.Process) -> bool:
            command = " ".join(process.cmdline())
            return "SLURM_JOB_ID" in process.environ() and all(word in command for word in words)

        return marked(self.env[MARK], of_a_job)

    def leaves_nothing(self, timeout: float = 120) -> bool:
        """Whether all processes of the jobs are gone within the time."""
        end = time.monotonic() + timeout
        while self.processes() and time.monotonic() < end:
            time.sleep(0.2)
        return not self.processes()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    if lacking := missing():
        skip_or_fail(f"needs a SLURM to start, lacks: {lacking}")
    mark = f"slurm-{os.getpid()}"
    with slurm_cluster(tmp_path_factory.mktemp("slurm")) as env:
        yield {**env, MARK: mark}


@pytest.fixture
def site(cluster: dict[str, str], tmp_path: Path) -> Site:
    return Site(cluster, tmp_path / "logs")


def test_two_nodes_run_to_the_end_and_a_paused_and_killed_job_ends_the_same(
    site: Site, tmp_path: Path
) -> None:
    root = f"run.root={tmp_path}"
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    job = site.submit(*TWO_NODES, *RUN, root, "run.name=whole")
    assert site.finished(job) == "COMPLETED", site.output()
    assert "Ray is up on 2 nodes" in site.output()
    assert "ray: 2 node(s), 2 CPUs" in site.output()
    assert site.leaves_nothing()

    job = site.submit(*TWO_NODES, *RUN, root, "run.name=broken")
    site.wait_until(lambda: (broken / "samples" / "step_000003.jsonl").exists())
    assert {actor.nice() for actor in site.processes("ray::")} == {psutil.Process().nice()}
    slurm(site.env, "scancel", "--batch", "--signal=USR1", job)  # what SLURM sends before the time limit
    site.wait_until(lambda: "requeued, goes on after step" in site.output())
    paused = int(site.output().split("requeued, goes on after step ")[1].split()[0])
    assert 3 <= paused < STEPS
    site.start_now(job)
    site.wait_until(lambda: f"attempt 2, 2 node(s), {broken}" in site.output())
    site.wait_until(lambda: len(list(broken.glob("checkpoints/step_*"))) and newest(broken) > paused)
    for process in site.processes("rlvr.train", "broken"):
        process.send_signal(signal.SIGKILL)
    site.wait_until(lambda: "the run was killed by signal 9; requeued" in site.output())
    site.start_now(job)
    assert site.finished(job) == "COMPLETED", site.output()
    assert json.loads((broken / "summary.json").read_text())["steps"] == STEPS
    assert rows(broken) == rows(whole)
    assert site.leaves_nothing()


def newest(run: Path) -> int:
    return max(int(p.name.removeprefix("step_")) for p in run.glob("checkpoints/step_*"))


def test_a_step_longer_than_the_warning_goes_on_from_the_newest_checkpoint(
    site: Site, tmp_path: Path
) -> None:
    quick = ("slurm.warn_seconds=10", "slurm.stop_seconds=2")
    job = site.submit(*ONE_NODE, *quick, *RUN, f"run.root={tmp_path}", "run.name=long")
    site.wait_until(lambda: bool(list((tmp_path / "long").glob("checkpoints/step_*/state.json"))))
    for process in site.processes("rlvr.train", "long"):
        process.suspend()  # its step takes for ever
    slurm(site.env, "scancel", "--batch", "--signal=USR1", job)
    site.wait_until(lambda: "the step was not done before the time limit; requeued" in site.output())
    slurm(site.env, "scancel", job)
    assert site.leaves_nothing()


def test_a_sweep_is_an_array_with_a_limit_and_a_cancelled_one_leaves_nothing(
    site: Site, tmp_path: Path
) -> None:
    command = (*ONE_NODE, "slurm.concurrency=1", "-m", *RUN, "seed=1,2", f"run.root={tmp_path}")
    job = site.submit(*command)
    again = site.launch(*command)
    assert again.returncode == 1
    assert "is in the queue already" in again.stderr
    first, second = (tmp_path / "sweep" / f"seed-{seed}" for seed in (1, 2))
    site.wait_until(lambda: (first / "summary.json").exists())
    assert not (second / "config.yaml").exists()  # one at a time
    site.wait_until(lambda: (second / "samples" / "step_000001.jsonl").exists())
    slurm(site.env, "scancel", job)
    assert site.leaves_nothing()
    assert site.finished(f"{job}_1") == "CANCELLED", site.output()
    site.wait_until(lambda: not slurm(site.env, "squeue", "-h"))
    assert not (second / "summary.json").exists()

    script = site.launch("--dry-run", *command).stdout
    assert "#SBATCH --array=1%1\n" in script  # the first is not run again
    assert "#   1: seed-2\n" in script


def test_a_node_that_never_joins_is_named(site: Site, tmp_path: Path) -> None:
    # Python on n2 hangs before it runs anything, as on a file system that does not answer.
    (tmp_path / "sitecustomize.py").write_text(
        "import os, time\nif os.environ.get('SLURMD_NODENAME') == 'n2': time.sleep(600)\n"
    )
    job = site.submit(
        *TWO_NODES,
        f"slurm.setup=['export PYTHONPATH={tmp_path}']",
        "slurm.ready_seconds=25",
        f"run.root={tmp_path}",
    )
    assert site.finished(job) == "FAILED"
    assert "n2: not joined to Ray at" in site.output()
    assert "1 of 2 nodes are there" in site.output()
    assert site.leaves_nothing()


def test_what_slurm_refuses_is_one_message(site: Site, tmp_path: Path) -> None:
    for option, said in (
        ("slurm.partition=nowhere", "nvalid partition"),
        ("slurm.time=2:00:00", "ime limit"),
        ("slurm.options=[--no-such-option]", "no-such-option"),
    ):
        done = site.launch(*ONE_NODE[:2], option, f"run.root={tmp_path}")
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert "SlurmError: sbatch refused: " in done.stderr
        assert said in done.stderr
        assert "Nothing was submitted." in done.stderr


def test_a_ray_port_that_is_taken_is_named(site: Site, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        job = site.submit(*TWO_NODES, f"slurm.ray_port={port}", f"run.root={tmp_path}")
        assert site.finished(job) == "FAILED"
    assert f"slurm.ray_port={port}: taken on" in site.output()
