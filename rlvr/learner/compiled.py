"""Where DeepSpeed compiles what it needs at its first use on CPU, so that a killed run cannot block later ones.

torch marks a build in progress with a file (FileBaton) and waits for the file to go, for ever if the process that
made it was killed. Here one process builds at a time, in a folder of our own, under a lock that the kernel lifts
when its holder ends; a mark that is found there while the lock is held is left over and is removed.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from rlvr.errors import ConfigError, DeadlineError
from rlvr.locks import try_lock
from rlvr.timing import Deadline

REMEDY = "DeepSpeed compiles there; set XDG_CACHE_HOME or TORCH_EXTENSIONS_DIR to a folder on a local disk"
OURS = "RLVR_EXTENSIONS_DIR"  # tells our folder from one that the user has chosen


def extensions_folder(*versions: str) -> Path:
    """The folder for builds of these versions of the libraries, in the user's cache; one an environment.

    torch builds anew where the paths of headers have changed, so environments that shared one would take turns.
    """
    environment = hashlib.blake2b(sys.prefix.encode(), digest_size=4).hexdigest()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "rlvr" / "-".join(("extensions", f"py{platform.python_version()}", *versions, environment))


@contextmanager
def build_alone(folder: Path, *, deadline_seconds: float) -> Iterator[None]:
    """Let torch compile in `folder` for the length of the block, one process at a time.

    TORCH_EXTENSIONS_DIR wins where the user has set it; others may build there, so no mark is removed from it.

    Raises:
        ConfigError: the folder cannot be written or locked.
        DeadlineError: another process has been building for too long.
    """
    chosen = os.environ.get("TORCH_EXTENSIONS_DIR")
    mine = chosen is None or chosen == os.environ.get(OURS)
    root = folder if mine else Path(str(chosen))
    lock = root / "rlvr.lock"
    with _opened(lock) as file:
        deadline = Deadline(deadline_seconds)
        while not _locked(file):
            if deadline.passed:
                raise DeadlineError(
                    f"{lock}: another process has been compiling there for {deadline_seconds:g} s; is one stuck?"
                )
            time.sleep(0.1)
        if mine:
            for mark in root.glob("*/lock"):
                mark.unlink()
            os.environ["TORCH_EXTENSIONS_DIR"] = os.environ[OURS] = str(root)
        yield


def _opened(lock: Path) -> IO[str]:
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        return lock.open("a")
    except OSError as error:
        raise ConfigError(f"{lock}: cannot be written ({error.strerror}); {REMEDY}") from error


def _locked(file: IO[str]) -> bool:
    try:
        return try_lock(file)
    except OSError as error:
        raise ConfigError(f"{file.name}: cannot be locked ({error.strerror}); {REMEDY}") from error
