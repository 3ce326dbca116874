"""One Ray a module for the tests that need actors but no whole run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rlvr import cluster
from rlvr.config import ClusterConfig


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[cluster.Cluster]:
    """A local Ray with room for a handful of actors."""
    yield cluster.start(ClusterConfig(), actors=8)
    cluster.shutdown()
