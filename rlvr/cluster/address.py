"""Where a running Ray cluster is joined: an address at which nothing answers is refused; Ray would try for minutes."""

from __future__ import annotations

import os
import socket
import time

from rlvr.errors import ConfigError
from rlvr.timing import Deadline

ANSWER_SECONDS = 30.0  # a head that has just been started needs some
TRY_SECONDS = 5.0  # of one connection
REMEDY = "Start one with `ray start --head`, give its host:port, or use cluster.address=local."


def check_address(address: str, *, seconds: float = ANSWER_SECONDS) -> None:
    """Refuse to join a cluster at an address that takes no connection for so many seconds.

    Raises:
        ConfigError: names the address and where it comes from.
        ConnectionError: `auto`, and Ray knows of no cluster.
        ValueError: not host:port.
    """
    key = f"cluster.address={address}"
    named = os.environ.get("RAY_ADDRESS") if address == "auto" else None
    if named:
        key = f"{key}, RAY_ADDRESS={named}"
    if "://" in (named or address):
        raise ConfigError(
            f"{key}: Ray's client protocol runs the driver elsewhere; start the run on a node of the cluster, with "
            "cluster.address=auto"
        )
    from ray._private.services import canonicalize_bootstrap_address

    where = canonicalize_bootstrap_address(address)
    if where is None:  # RAY_ADDRESS=local
        return
    host, _, port = where.rpartition(":")
    deadline, why = Deadline(seconds), ""
    while True:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=TRY_SECONDS).close()
            return
        except OSError as error:
            why = error.strerror or str(error)
        if not deadline.left:
            raise ConfigError(f"{key}: nothing answers at {where} within {seconds:g} s ({why}). {REMEDY}")
        time.sleep(min(1.0, deadline.left))
