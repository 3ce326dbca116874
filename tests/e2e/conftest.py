"""One Ray a module for the tests that need actors but no whole run, a disk that is soon full, and what runs first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rlvr import cluster
from rlvr.config import ClusterConfig
from tests.helpers.disks import small_disk

if TYPE_CHECKING:
    from tests.helpers.shared_processes import SharedProcesses

# The files that take longest, so that no worker is left with one when the others are done. While the first compiles
# DeepSpeed's operation, where nobody has yet, the second does not need it.
FIRST = (
    "test_train.py",
    "test_actor_failures.py",
    "test_slurm.py",
    "test_benchmarks.py",
    "test_sweep.py",
    "test_families.py",
    "test_streaming_faults.py",
    "test_bad_input.py",
    "test_variants.py",
    "test_cross_sample.py",
    "test_nodes.py",
)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole runs before all else, from the longest files to the shortest."""
    rank = {name: i for i, name in enumerate(FIRST)}
    items.sort(key=lambda item: rank.get(item.path.name, len(FIRST)))


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[cluster.Cluster]:
    """A local Ray with room for a handful of actors."""
    yield cluster.start(ClusterConfig(), actors=8)
    cluster.shutdown()


@pytest.fixture(scope="module")
def processes(ray_cluster: cluster.Cluster) -> Iterator[SharedProcesses]:
    """Engines and ranks of which each process serves all tests of a file."""
    from tests.helpers.shared_processes import SharedProcesses  # which imports torch

    made = SharedProcesses()
    yield made
    made.end()


@pytest.fixture
def shared_runs(
    ray_cluster: cluster.Cluster, processes: SharedProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs in this process whose engine and rank are those of the run before."""
    from rlvr.learner import group
    from rlvr.rollout import pool

    monkeypatch.setattr(cluster, "start", lambda *args, **kwargs: ray_cluster)
    monkeypatch.setattr(cluster, "shutdown", lambda: None)
    for module in (group, pool):
        monkeypatch.setattr(module, "spawn", processes.spawn)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 5 MB: room for the run folder, not for a checkpoint."""
    with small_disk(tmp_path / "disk", "5m") as disk:
        yield disk
