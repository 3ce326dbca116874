"""The pool inside a Ray actor: threads of the actor share it, and killing the actor leaves no process behind."""

import os
import time
from pathlib import Path

import pytest

from rlvr.reward.verdict import GradeRequest
from tests.helpers.grader_cases import ENDLESS
from tests.helpers.paths import REPOSITORY


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.slow
@pytest.mark.e2e
def test_pool_in_a_threaded_ray_actor():
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    ray = pytest.importorskip("ray")

    class Grader:
        def __init__(self) -> None:
            from rlvr.reward.workers.pool import GraderPool

            self.pool = GraderPool(workers=2, deadline_seconds=1, memory_mb=400)

        def grade(self, requests: list[GradeRequest]) -> dict:
            return self.pool.grade(requests)

        def pids(self) -> list[int]:
            return self.pool.worker_pids

    root = str(REPOSITORY)
    ray.init(
        address="local",  # not the cluster whose address a killed head has left in Ray's folder
        num_cpus=1,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": root}},
        object_store_memory=100 * 2**20,
    )
    try:
        actor = ray.remote(Grader).options(max_concurrency=3, num_cpus=0).remote()
        answers = [r"\boxed{2/4}", ENDLESS, "none", r"\boxed{3}"] * 3
        requests = [GradeRequest(str(i), r"\frac{1}{2}", answer) for i, answer in enumerate(answers)]
        calls = ray.get([actor.grade.remote(requests) for _ in range(3)], timeout=120)
        for verdicts in calls:
            expected = ["correct", "timed_out", "no_answer", "wrong"] * 3
            assert [str(verdict.outcome) for verdict in verdicts.values()] == expected
        pids = ray.get(actor.pids.remote(), timeout=30)
        assert len(pids) == 2
        ray.kill(actor)
        deadline = time.monotonic() + 15
        while any(running(pid) for pid in pids):
            assert time.monotonic() < deadline, "workers outlived their actor"
            time.sleep(0.1)
    finally:
        ray.shutdown()
