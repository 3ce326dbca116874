"""Addresses and ports of the nodes of a job."""

from __future__ import annotations

import socket
import time

import psutil

from rlvr.errors import ConfigError, DeadlineError


def address_towards(host: str) -> str:
    """The address of this node on the route to `host`; nothing is sent.

    Raises:
        ConfigError: the name does not resolve, or there is no route.
    """
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((host, 9))
            return str(probe.getsockname()[0])
    except OSError as error:
        raise ConfigError(
            f"{host}: cannot be reached from this node ({error}); set slurm.interface"
        ) from error


def interface_address(interface: str) -> str:
    """The IPv4 address of a network interface.

    Raises:
        ConfigError: there is no such interface on this node, or it has no address.
    """
    known = psutil.net_if_addrs()
    for entry in known.get(interface, []):
        if entry.family == socket.AF_INET:
            return str(entry.address)
    raise ConfigError(f"slurm.interface={interface}: {socket.gethostname()} has {', '.join(sorted(known))}")


def interface_of(address: str) -> str:
    """The interface that carries an address; empty if none does."""
    for name, entries in psutil.net_if_addrs().items():
        if any(entry.address == address for entry in entries):
            return name
    return ""


def choose_port(host: str, wanted: int | None) -> int:
    """A port of this node for the Ray head: the wanted one, or a free one.

    Raises:
        ConfigError: the wanted port is taken.
    """
    with socket.socket() as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # a port in TIME_WAIT is free for Ray as well
        try:
            probe.bind((host, wanted or 0))
        except OSError as error:
            raise ConfigError(
                f"slurm.ray_port={wanted}: taken on {socket.gethostname()} ({error}), perhaps by another job; leave it "
                "out to use a free one"
            ) from error
        return int(probe.getsockname()[1])


def wait_for_port(host: str, port: int, deadline_seconds: float) -> None:
    """Return once something listens there.

    Raises:
        DeadlineError: nothing does in time.
    """
    end = time.monotonic() + deadline_seconds
    while True:
        try:
            socket.create_connection((host, port), timeout=2.0).close()
            return
        except OSError as error:
            if time.monotonic() > end:
                raise DeadlineError(
                    f"the Ray head at {host}:{port} did not answer within {deadline_seconds:g} s"
                ) from error
        time.sleep(0.2)
