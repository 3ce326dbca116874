"""Machines that lack something Ray needs are refused before it starts, in words that say what."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from rlvr.cluster import prerequisites, start
from rlvr.cluster.prerequisites import check_prerequisites
from rlvr.config import ClusterConfig
from rlvr.errors import ConfigError


def test_this_machine_has_all_of_them_and_nothing_is_left_of_the_look(tmp_path: Path) -> None:
    check_prerequisites(str(tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", ["", "/nonexistent"])
def test_a_path_without_the_shell_that_starts_actors_is_refused_before_ray_starts(
    monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr("os.environ", {**os.environ, "PATH": path})
    with pytest.raises(ConfigError, match=rf"no bash is in PATH={path}, .*export PATH=/usr/bin:/bin"):
        start(ClusterConfig(), actors=1)


def test_an_unset_path_leaves_the_systems_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PATH")
    check_prerequisites()


def test_shared_memory_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none cannot be written \(No such file or directory\), .*tmpfs"):
        check_prerequisites(str(tmp_path / "none"))


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_shared_memory_that_takes_no_byte_is_refused_with_the_systems_reason(
    monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(**options: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(ConfigError, match=rf"/dev/shm cannot be written \({os.strerror(code)}\)"):
        check_prerequisites()


@pytest.mark.parametrize(
    "error", [OSError(errno.ENETUNREACH, "Network is unreachable"), TimeoutError("timed out")]
)
def test_a_loopback_interface_that_is_down_or_walled_off_is_refused(
    monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    def unreachable(*args: object, **options: object) -> socket.socket:
        raise error

    monkeypatch.setattr("socket.create_connection", unreachable)
    said = error.strerror or error
    with pytest.raises(ConfigError, match=rf"no connection to {prerequisites.LOOPBACK} .*\({said}\).*lo up"):
        check_prerequisites()
