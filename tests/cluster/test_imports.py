"""Garbage collection around imports."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from rlvr.cluster.imports import uncollected

MANY = 20_000  # containers, more than the collector lets grow before it looks at them


def test_nothing_is_collected_inside_and_as_before_afterwards() -> None:
    """However the block ends."""

    def fail() -> None:
        with uncollected():
            assert not gc.isenabled()
            raise RuntimeError

    assert gc.isenabled()
    with pytest.raises(RuntimeError):
        fail()
    assert gc.isenabled()


def test_collection_that_was_off_stays_off() -> None:
    """A caller's own choice is kept."""
    gc.disable()
    try:
        with uncollected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


@pytest.mark.slow
def test_a_module_is_imported_without_a_collection_and_never_looked_at_again(tmp_path: Path) -> None:
    """In a process of its own: frozen objects stay so."""
    (tmp_path / "large.py").write_text(f"rows = [[] for _ in range({MANY})]\n")
    script = (
        "import gc\n"
        "from rlvr.cluster.imports import uncollected\n"
        "runs = []\n"
        "gc.callbacks.append(lambda phase, info: runs.append(phase))\n"
        "with uncollected(for_good={for_good}):\n"
        "    import large\n"
        "    seen = len(runs)\n"
        "print(seen, gc.get_freeze_count() > {many})\n"
    )
    for for_good in (True, False):
        done = subprocess.run(
            [sys.executable, "-c", script.format(for_good=for_good, many=MANY)],
            env={"PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split() == ["0", str(for_good)]
