"""What is said of an exception inside an actor."""

from __future__ import annotations

import errno
import os
from collections import namedtuple

import pytest

from rlvr.cluster import remote

Room = namedtuple("Room", "total used free")


def test_a_full_disk_that_the_system_does_not_name_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    rooms = {remote.SHARED_MEMORY: Room(64 << 20, 64 << 20, 0)}
    monkeypatch.setattr(
        remote.shutil, "disk_usage", lambda place: rooms.get(place, Room(1 << 40, 0, 1 << 40))
    )
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert remote.in_words(full) == (
        "OSError: [Errno 28] No space left on device (/dev/shm has 0 of 64 MiB left)"
    )
    named = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/x")
    assert remote.in_words(named) == "OSError: [Errno 28] No space left on device: '/data/x'"
    assert remote.in_words(OSError(errno.EIO, "broken")) == "OSError: [Errno 5] broken"


def test_a_place_that_cannot_be_looked_at_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(place: str) -> Room:
        raise FileNotFoundError(place)

    monkeypatch.setattr(remote.shutil, "disk_usage", refuse)
    assert remote.in_words(OSError(errno.ENOSPC, "No space")) == "OSError: [Errno 28] No space"
