"""One Ray a module for the tests that need actors but no whole run, and how to run the command-line tools."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rlvr import cluster
from rlvr.config import ClusterConfig

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[cluster.Cluster]:
    """A local Ray with room for a handful of actors."""
    yield cluster.start(ClusterConfig(), actors=8)
    cluster.shutdown()


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `python -m <module> <overrides>` with run folders below the test's own folder."""

    def run(
        module: str, *overrides: str, timeout: float = 300, **env: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", module, *overrides],
            cwd=REPOSITORY,
            env={**os.environ, **env},
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run
