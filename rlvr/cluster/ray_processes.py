"""The processes that a local Ray consists of: where one has ended, no actor can be reached any more.

Ray itself notices after a minute, and then ends this process with a line of its own.
"""

from __future__ import annotations

import psutil

from rlvr.errors import ActorError

NAMES = ("gcs_server", "raylet")
_watched: dict[str, psutil.Process] = {}


def watch() -> None:
    """Remember those that this process has started."""
    children = psutil.Process().children()
    _watched.update({child.name(): child for child in children if child.name() in NAMES})


def forget() -> None:
    """Watch none: Ray is about to end."""
    _watched.clear()


def check() -> None:
    """Look whether all of them are still there.

    Raises:
        ActorError: one has ended.
    """
    for name, process in tuple(_watched.items()):
        if not _runs(process):
            raise ActorError(
                f"Ray's own process {name} has ended, and without it no actor can be reached. Often the machine ran "
                "out of memory; Ray's log folder, named at the start of the run, has its last words."
            )


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
