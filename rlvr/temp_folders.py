"""Short folders for Unix sockets, whose paths may have 107 bytes, whatever TMPDIR says."""

from __future__ import annotations

import os
import re
import tempfile

from rlvr.errors import ConfigError

LONGEST = 41  # characters of a folder below which Ray can put `ray/session_<date>_<pid>/sockets/plasma_store`
PLAIN = re.compile(r"[\w./+-]+", re.ASCII)  # Ray hands its paths on through command lines


def own_ray_folder() -> str:
    """A folder of this user's own for Ray's sockets and logs, in RAY_TMPDIR or /tmp.

    In its default, /tmp/ray, a head overwrites a file that belongs to whoever was there first, and what it
    leaves there when it is killed misleads a later `ray.init()`.
    """
    return os.path.join(os.environ.get("RAY_TMPDIR") or "/tmp", f"ray-{os.getuid()}")


def local_ray_folder() -> tuple[str | None, str]:
    """Where a local Ray keeps its sockets, None for its own choice, and the reason for any other.

    Raises:
        ConfigError: RAY_TMPDIR, which decides where it is set, is too long.
    """
    if chosen := os.environ.get("RAY_TMPDIR"):
        if _fits(chosen):
            return None, ""
        raise ConfigError(
            f"RAY_TMPDIR={chosen}: too long or with characters that Ray cannot take; its sockets need a folder of at "
            f"most {LONGEST} plain characters"
        )
    usual = tempfile.gettempdir()
    if _fits(usual):
        return None, ""
    return own_ray_folder(), f"the path of TMPDIR, {len(usual)} characters, does not do for sockets"


def socket_folder() -> str:
    """A folder for sockets of other libraries: the usual temporary one where its path is short, else /tmp."""
    usual = tempfile.gettempdir()
    return usual if _fits(usual) else "/tmp"


def _fits(folder: str) -> bool:
    return len(folder.encode()) <= LONGEST and PLAIN.fullmatch(folder) is not None
