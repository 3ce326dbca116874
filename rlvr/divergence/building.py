"""What torch needs to compile extensions at their first use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec


@contextmanager
def own_ninja() -> Iterator[None]:
    """Put this environment's ninja first on PATH inside the block: torch starts it by its name.

    A process that was started as `.venv/bin/python` would else find none, or the system's, and ninjas of two versions
    do not believe one another's records: each would compile again what the other has.
    """
    if find_spec("ninja") is None:
        yield
        return
    import ninja

    before = os.environ.get("PATH")
    os.environ["PATH"] = os.pathsep.join(filter(None, (ninja.BIN_DIR, before)))
    try:
        yield
    finally:
        if before is None:
            del os.environ["PATH"]
        else:
            os.environ["PATH"] = before
