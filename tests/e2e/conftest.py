"""What runs first, and a disk that is soon full."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.disks import small_disk

# The files that take longest, so that no worker is left with one when the others are done.
FIRST = (
    "tests/e2e/test_train.py",
    "tests/e2e/test_actor_failures.py",
    "tests/e2e/test_slurm.py",
    "tests/e2e/test_benchmarks.py",
    "tests/e2e/shared/",
    "tests/e2e/test_streaming_faults.py",
    "tests/e2e/test_sweep.py",
    "tests/e2e/test_bad_input.py",
    "tests/e2e/test_variants.py",
    "tests/e2e/test_wheel.py",
    "tests/analysis/cross/test_cross_sample.py",
)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole runs before all else, from the longest files to the shortest."""
    items.sort(key=lambda item: _rank(item.nodeid))


def _rank(name: str) -> int:
    return next((i for i, first in enumerate(FIRST) if name.startswith(first)), len(FIRST))


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 5 MB: room for the run folder, not for a checkpoint."""
    with small_disk(tmp_path / "disk", "5m") as disk:
        yield disk
