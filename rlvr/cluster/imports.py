"""Imports of large libraries, without the garbage collection that would look at their objects again and again."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected(*, for_good: bool = False) -> Iterator[None]:
    """Suspend the process's garbage collection inside the block, where libraries are imported.

    Args:
        for_good: never look again at any object that the process has at the end of the block (`gc.freeze`). For
            actors, which keep their libraries until they end and whose libraries call `gc.collect`: on vLLM's
            modules that takes a quarter of a second each time. What an import leaves behind as garbage stays.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if for_good:
            gc.freeze()
        if was_enabled:
            gc.enable()
