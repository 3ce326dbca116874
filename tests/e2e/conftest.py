"""One Ray a module for the tests that need actors but no whole run, and a disk that is soon full."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rlvr import cluster
from rlvr.config import ClusterConfig
from tests.helpers.disks import small_disk


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[cluster.Cluster]:
    """A local Ray with room for a handful of actors."""
    yield cluster.start(ClusterConfig(), actors=8)
    cluster.shutdown()


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 5 MB: room for the run folder, not for a checkpoint."""
    with small_disk(tmp_path / "disk", "5m") as disk:
        yield disk
