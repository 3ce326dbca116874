"""Temporary folders whose paths suit sockets and file URLs, and one that goes when its process does."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Mapping, MutableMapping

SOCKET_BYTES = 107  # longest path of a Unix socket
RAY_BYTES = len("/session_2026-01-31_23-59-59_999999_4194304/sockets/plasma_store")
LIBRARY_BYTES = len("/rlvr-abcdefgh/01234567-89ab-cdef-0123-456789abcdef")  # vLLM names sockets by UUID

# Importing torch sets these, to folders below TMPDIR.
CACHES = ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR")


def fits(folder: str, room: int) -> bool:
    """Whether sockets whose paths go on for `room` bytes fit below the folder, and its name needs no quoting."""
    plain = re.fullmatch(r"/[\w./+-]*", folder, re.A) is not None
    return plain and len(os.fsencode(folder)) + room <= SOCKET_BYTES


def own_ray_folder(environment: Mapping[str, str]) -> str:
    """A folder of this user's own for Ray's sockets and logs: below /tmp, or below RAY_TMPDIR where that suits.

    In its default, /tmp/ray, a head overwrites a file that belongs to whoever was there first, and what it
    leaves there when it is killed misleads a later `ray.init()`.
    """
    name = f"ray-{os.getuid()}"
    chosen = os.path.join(environment.get("RAY_TMPDIR", ""), name)
    return chosen if fits(chosen, RAY_BYTES) else os.path.join("/tmp", name)


def local_ray_folder(environment: Mapping[str, str]) -> tuple[str | None, str]:
    """Where a Ray of this process alone keeps sockets and logs, None for its own choice, and the reason.

    That choice is `ray` below RAY_TMPDIR or TMPDIR; a path too long for sockets ends Ray's start.
    """
    name = "RAY_TMPDIR" if environment.get("RAY_TMPDIR") else "TMPDIR"
    value = environment.get(name, "/tmp")
    if fits(os.path.join(value, "ray"), RAY_BYTES):
        return None, ""
    folder, most = own_ray_folder(environment), SOCKET_BYTES - RAY_BYTES - len("/ray")
    return folder, (
        f"{name}={value} does not suit Ray's sockets: Ray keeps its files in {folder}. RAY_TMPDIR moves them to an "
        f"absolute path of at most {most} bytes, made of letters, digits and ./+-_"
    )


def replace_unsuitable(environment: MutableMapping[str, str]) -> str:
    """Have TMPDIR be /tmp where sockets or compilers would fail in it; returns what to say about it, or "".

    torch compiles without quoting paths, so that a space alone ends a run.
    """
    value = environment.get("TMPDIR", "/tmp")
    if fits(value, LIBRARY_BYTES):
        return ""
    environment["TMPDIR"] = "/tmp"
    below = os.path.abspath(value) + os.sep
    for name in CACHES:
        if environment.get(name, "").startswith(below):
            environment[name] = os.path.join("/tmp", environment[name].removeprefix(below))
    return (
        f"TMPDIR={value} does not suit sockets and compilers (absolute paths of at most "
        f"{SOCKET_BYTES - LIBRARY_BYTES} bytes, made of letters, digits and ./+-_): this run uses /tmp"
    )


def use_own_temporary_folder() -> str:
    """Give this process, and those that it starts, a temporary folder that goes when it ends, however it ends.

    A shell waits at the other end of a pipe that closes with the process, killed or not, and deletes it.
    """
    base = tempfile.gettempdir()
    folder = tempfile.mkdtemp(prefix="rlvr-", dir=base if fits(base, LIBRARY_BYTES) else "/tmp")
    reader, _writer = os.pipe()  # the writing end stays open in this process and in no other program
    # In the background of a shell that ends: Ray kills the children of a process that it ends.
    script = 'exec 3<&0; { read -r _ <&3; rm -rf -- "$0"; } &'
    subprocess.run(
        ["/bin/sh", "-c", script, folder],
        stdin=reader,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={"PATH": "/usr/bin:/bin"},  # it is no part of what its environment would say that it belongs to
        start_new_session=True,
        check=True,
    )
    os.close(reader)
    os.environ["TMPDIR"] = folder
    tempfile.tempdir = None  # read again
    return folder
