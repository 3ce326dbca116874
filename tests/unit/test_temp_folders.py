"""Where sockets go when TMPDIR is no place for them."""

from __future__ import annotations

import os
import tempfile

import pytest

from rlvr.errors import ConfigError
from rlvr.temp_folders import LONGEST, local_ray_folder, own_ray_folder, socket_folder

# As Ray names its longest socket; the date and a pid of seven digits are of fixed length.
SOCKET = "ray/session_2026-11-25_19-26-03_465403_1234567/sockets/plasma_store"


@pytest.fixture
def tmpdir_is(monkeypatch):
    def choose(folder: str) -> None:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        monkeypatch.delenv("RAY_TMPDIR", raising=False)

    return choose


def test_the_usual_folder_stays_where_it_fits(tmpdir_is):
    for folder in ("/tmp", "/tmp/" + "a" * (LONGEST - 5)):
        tmpdir_is(folder)
        assert local_ray_folder() == (None, "")
        assert socket_folder() == folder
        assert len(os.path.join(folder, SOCKET)) <= 107 + 3  # Ray's own pids rarely have seven digits


@pytest.mark.parametrize("folder", ["/scratch/" + "a" * 100, "/scratch/my files", "/scratch/é"])
def test_a_long_or_odd_folder_is_left_alone_and_said(tmpdir_is, folder):
    tmpdir_is(folder)
    chosen, reason = local_ray_folder()
    assert chosen == own_ray_folder() == f"/tmp/ray-{os.getuid()}"
    assert "TMPDIR" in reason
    assert socket_folder() == "/tmp"


def test_rays_own_variable_decides(tmpdir_is, monkeypatch):
    tmpdir_is("/scratch/" + "a" * 100)
    monkeypatch.setenv("RAY_TMPDIR", "/short")
    assert local_ray_folder() == (None, "")
    monkeypatch.setenv("RAY_TMPDIR", "/" + "b" * 60)
    with pytest.raises(ConfigError, match="RAY_TMPDIR"):
        local_ray_folder()
