"""What Ray needs of a machine beside room, and hangs or dies without, naming neither: looked at before it starts."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile

from rlvr.cluster.remote import SHARED_MEMORY
from rlvr.errors import ConfigError

LOOPBACK = "127.0.0.1"  # a Ray of this machine alone listens nowhere else
TRY_SECONDS = 5.0  # of one connection within the machine
SHELL = "bash"  # Ray has it start every actor


def check_prerequisites(shared_memory: str = SHARED_MEMORY) -> None:
    """Refuse a machine on which a Ray of its own cannot start, or could start no actor.

    Raises:
        ConfigError: says what is missing, and what to do.
    """
    _check_shell()
    _check_shared_memory(shared_memory)
    _check_loopback()


def _check_shell() -> None:
    """Without the shell an actor's process ends where nobody looks, and Ray starts another for ever."""
    if shutil.which(SHELL) is None:
        raise ConfigError(
            f"cluster.address=local: no {SHELL} is in PATH={os.environ.get('PATH', '')}, and Ray starts every actor "
            f"with it. Put its folder into PATH (export PATH=/usr/bin:/bin:$PATH), or install {SHELL}."
        )


def _check_shared_memory(folder: str) -> None:
    """A byte takes a page, as a semaphore does; where Ray finds too little room for its objects, it uses a disk."""
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b".")
    except OSError as error:
        raise ConfigError(
            f"cluster.address=local: {folder} cannot be written ({error.strerror}), and Ray and the engines keep "
            "semaphores and shared memory there. It must be a writable tmpfs with some MiB left: remove what ended "
            "programs have left there, or mount one (mount -t tmpfs tmpfs /dev/shm; docker run --shm-size=8g)."
        ) from error


def _check_loopback() -> None:
    """Ray waits for ever for an interface that is down, and takes no signal meanwhile."""
    try:
        with socket.socket() as server:
            server.bind((LOOPBACK, 0))
            server.listen()
            socket.create_connection(server.getsockname(), timeout=TRY_SECONDS).close()
    except OSError as error:
        raise ConfigError(
            f"cluster.address=local: no connection to {LOOPBACK} can be made within this machine "
            f"({error.strerror or error}), and all processes of a run talk there. Bring the loopback interface up (ip "
            "link set lo up), or allow it in the firewall or sandbox."
        ) from error
