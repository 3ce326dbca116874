"""Locks that a killed process cannot leave behind."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from rlvr.errors import ConfigError, RlvrError, where_it_fails

log = logging.getLogger(__name__)


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


def lock_folder(folder: Path, key: str) -> IO[str]:
    """Make a folder this process's to write to, until the file that is returned closes.

    `key` is the setting that named the folder, such as `run.name=mine`. Where the file system knows no locks a
    warning says so.

    Raises:
        ConfigError: another process is writing there.
        OSError: the folder cannot be made or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / ".lock").open("a")
    try:
        free = try_lock(file)
    except OSError as error:
        log.warning(
            "%s: cannot be locked (%s); see to it that no other process writes there",
            file.name,
            error.strerror,
        )
        return file
    if not free:
        file.close()
        raise ConfigError(
            f"{key}: another process is writing to {folder}. Wait for it to end, or choose another "
            f"{key.partition('=')[0]}."
        )
    return file


def check_in_place(lock: IO[str], key: str) -> None:
    """Refuse to go on writing to a folder that is no longer the one that was locked.

    A lock alone that somebody has deleted changes nothing.

    Raises:
        RlvrError: the folder has been removed or moved, and another process may have made one of its name.
    """
    folder = os.path.dirname(lock.name)
    try:
        ours = os.path.samestat(os.fstat(lock.fileno()), os.stat(lock.name))
    except FileNotFoundError:
        ours = os.path.isdir(folder)
    if not ours:
        raise RlvrError(
            f"{key}: {folder} has been removed or moved while it was written to. Put it back as it was, with its "
            "checkpoints, and continue with run.resume=auto, or start again."
        )


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold an output folder, which is made if need be; the operating system lets go of it when a process dies.

    Raises:
        ConfigError: another process holds it.
        RlvrError: it cannot be made.
    """
    with where_it_fails(f"output={folder} cannot be made", "name a folder that can be written"):
        lock = lock_folder(folder, f"output={folder}")
    with lock:
        yield
