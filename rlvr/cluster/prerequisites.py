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
ALONE = "cluster.address=local"


def check_prerequisites(shared_memory: str = SHARED_MEMORY) -> None:
    """Refuse a machine on which a Ray of its own cannot start, or could start no actor.

    Raises:
        ConfigError: says what is missing, and what to do.
    """
    check_node(ALONE, shared_memory)
    _check_loopback()


def check_node(node: str, shared_memory: str = SHARED_MEMORY) -> None:
    """Refuse a machine on which Ray could start no actor as a node of a cluster; `node` begins the message.

    Raises:
        ConfigError: says what is missing, and what to do.
    """
    _check_shell(node)
    _check_shared_memory(node, shared_memory)


def _check_shell(node: str) -> None:
    """Without the shell an actor's process ends where nobody looks, and Ray starts another for ever."""
    if shutil.which(SHELL) is None:
        raise ConfigError(
            f"{node}: no {SHELL} is in PATH={os.environ.get('PATH', '')}, and Ray starts every actor "
            f"with it. Put its folder into PATH (export PATH=/usr/bin:/bin:$PATH), or install {SHELL}."
        )


def _check_shared_memory(node: str, folder: str) -> None:
    """A byte takes a page, as a semaphore does; where Ray finds too little room for its objects, it uses a disk."""
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b".")
    except OSError as error:
        raise ConfigError(
            f"{node}: {folder} cannot be written ({error.strerror}), and Ray and the engines keep "
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
            f"{ALONE}: no connection to {LOOPBACK} can be made within this machine "
            f"({error.strerror or error}), and all processes of a run talk there. Bring the loopback interface up (ip "
            "link set lo up), or allow it in the firewall or sandbox."
        ) from error
