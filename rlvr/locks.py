"""Locks that a killed process cannot leave behind."""

from __future__ import annotations

import fcntl
from typing import IO


def try_lock(file: IO[str] | int) -> bool:
    """Take the exclusive lock of an open file unless another holds it; the operating system lifts it when it closes.

    Raises:
        OSError: the file system knows no locks, as some network file systems do not.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
