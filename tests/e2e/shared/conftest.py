"""One Ray, and engines and ranks of which each process serves all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from rlvr import cluster
from rlvr.config import ClusterConfig

if TYPE_CHECKING:
    from tests.helpers.shared_processes import SharedProcesses


@pytest.fixture(scope="package")
def ray_cluster() -> Iterator[cluster.Cluster]:
    """A local Ray with room for a handful of actors."""
    yield cluster.start(ClusterConfig(), actors=8)
    cluster.shutdown()


@pytest.fixture(scope="package")
def processes(ray_cluster: cluster.Cluster) -> Iterator[SharedProcesses]:
    """What `cluster.spawn` is for others."""
    from tests.helpers.shared_processes import SharedProcesses  # which imports torch

    made = SharedProcesses()
    yield made
    made.end()


@pytest.fixture
def shared_ranks(processes: SharedProcesses, monkeypatch: pytest.MonkeyPatch) -> None:
    """Learners whose ranks are those of the learner before."""
    from rlvr.learner import group

    monkeypatch.setattr(group, "spawn", processes.spawn)


@pytest.fixture
def shared_engines(processes: SharedProcesses, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pools whose engines are those of the pool before."""
    from rlvr.rollout import pool

    monkeypatch.setattr(pool, "spawn", processes.spawn)


@pytest.fixture
def shared_runs(
    ray_cluster: cluster.Cluster,
    shared_ranks: None,
    shared_engines: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Runs in this process whose engine and rank are those of the run before."""
    monkeypatch.setattr(cluster, "start", lambda *args, **kwargs: ray_cluster)
    monkeypatch.setattr(cluster, "shutdown", lambda: None)
