"""Whether anything answers where a running Ray cluster is to be joined."""

from __future__ import annotations

import re
import socket
import threading
import time

import pytest

from rlvr.cluster.address import check_address
from rlvr.cluster.machine import free_port
from rlvr.errors import ConfigError


@pytest.mark.parametrize("host", ["127.0.0.1", "[::ffff:127.0.0.1]"])
def test_an_address_at_which_nothing_answers_is_refused_in_time(host: str) -> None:
    where = f"{host}:{free_port()}"
    began = time.monotonic()
    said = rf"^cluster.address={re.escape(where)}: nothing answers at .* within 0.2 s \("
    with pytest.raises(ConfigError, match=said):
        check_address(where, seconds=0.2)
    assert time.monotonic() - began < 5


@pytest.mark.slow
def test_a_head_that_has_just_been_started_is_waited_for() -> None:
    port = free_port()
    with socket.socket() as head:
        late = threading.Timer(1.0, lambda: (head.bind(("", port)), head.listen()))
        late.start()
        check_address(f"127.0.0.1:{port}", seconds=20)
        late.join()


def test_what_the_environment_names_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    where = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("RAY_ADDRESS", where)
    with pytest.raises(ConfigError, match=rf"^cluster.address=auto, RAY_ADDRESS={where}: nothing answers"):
        check_address("auto", seconds=0)
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    with pytest.raises(ConfigError, match=r"RAY_ADDRESS=ray://head:10001: Ray's client protocol"):
        check_address("auto")


@pytest.mark.parametrize("address", ["head", "127.0.0.1:port"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises((ConfigError, ValueError)):
        check_address(address, seconds=0)
