"""Where temporary files go: short plain paths for sockets, and a folder that goes with its process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from rlvr.cluster.temporary import (
    LIBRARY_BYTES,
    RAY_BYTES,
    fits,
    local_ray_folder,
    own_ray_folder,
    replace_unsuitable,
)

MOST = 107 - RAY_BYTES  # of Ray's own folder
OWN = f"/tmp/ray-{os.getuid()}"
LONG = "/tmp/" + "x" * 104


@pytest.mark.parametrize(
    ("environment", "folder", "said"),
    [
        ({}, None, ""),
        ({"TMPDIR": "/scratch/me"}, None, ""),
        ({"TMPDIR": "/" + "x" * (MOST - len("/ray") - 1)}, None, ""),
        ({"TMPDIR": "/" + "x" * (MOST - len("/ray"))}, OWN, "TMPDIR=/xxx"),
        ({"TMPDIR": LONG}, OWN, "does not suit Ray's sockets"),
        ({"TMPDIR": "/scratch/my files"}, OWN, "TMPDIR=/scratch/my files does not suit"),
        ({"TMPDIR": "/scratch/ärger"}, OWN, "letters, digits"),
        ({"TMPDIR": "tmp"}, OWN, "absolute path"),
        ({"TMPDIR": LONG, "RAY_TMPDIR": "/local"}, None, ""),
        ({"TMPDIR": "/local", "RAY_TMPDIR": LONG}, OWN, f"RAY_TMPDIR={LONG}"),
    ],
)
def test_rays_folder(environment, folder, said):
    chosen, reason = local_ray_folder(environment)
    assert chosen == folder
    assert said in reason
    assert bool(reason) == (folder is not None)


def test_rays_folder_on_slurm():
    assert own_ray_folder({"TMPDIR": "/site"}) == OWN
    assert own_ray_folder({"RAY_TMPDIR": "/local"}) == f"/local/ray-{os.getuid()}"
    assert own_ray_folder({"RAY_TMPDIR": LONG}) == OWN


@pytest.mark.parametrize(
    ("value", "suits"),
    [
        (None, True),
        ("/scratch/me", True),
        ("/" + "x" * (106 - LIBRARY_BYTES), True),
        ("/" + "x" * (107 - LIBRARY_BYTES), False),
        ("/scratch/my files", False),
        ("/scratch/50%", False),
        ("relative", False),
        ("", False),
    ],
)
def test_a_temporary_folder_in_which_libraries_would_fail_is_replaced(value, suits):
    environment = {"HOME": "/"} if value is None else {"HOME": "/", "TMPDIR": value}
    before = dict(environment)
    said = replace_unsuitable(environment)
    assert environment == (before if suits else before | {"TMPDIR": "/tmp"})
    assert said.startswith("" if suits else f"TMPDIR={value} does not suit")
    assert suits == (said == "")


def test_what_importing_torch_has_put_below_an_unsuitable_folder_moves_with_it():
    environment = {
        "TMPDIR": "/a b",
        "TORCHINDUCTOR_CACHE_DIR": "/a b/torchinductor_me",
        "TRITON_CACHE_DIR": "/home/me/triton",
    }
    replace_unsuitable(environment)
    assert environment == {
        "TMPDIR": "/tmp",
        "TORCHINDUCTOR_CACHE_DIR": "/tmp/torchinductor_me",
        "TRITON_CACHE_DIR": "/home/me/triton",
    }


def test_the_limit_is_that_of_the_system():
    """A path of 107 bytes can be bound, one of 108 cannot."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        for length, works in ((107, True), (108, False)):
            name = "s" * (length - len(folder) - 1)
            assert fits(folder, len(name) + 1) is works
            with socket.socket(socket.AF_UNIX) as server:
                if works:
                    server.bind(f"{folder}/{name}")
                else:
                    with pytest.raises(OSError, match="too long"):
                        server.bind(f"{folder}/{name}")


PROGRAM = """
import os, signal, subprocess, sys, tempfile
from rlvr.cluster.temporary import use_own_temporary_folder
folder = use_own_temporary_folder()
assert tempfile.gettempdir() == folder
subprocess.run([sys.executable, "-c", "import tempfile; tempfile.mkstemp(prefix='child')"], check=True)
tempfile.mkdtemp()
print(folder, len(os.listdir(folder)), flush=True)
sys.stdin.read(1)
"""


@pytest.mark.parametrize("how", [None, signal.SIGTERM, signal.SIGKILL])
def test_a_processs_own_folder_goes_with_it(tmp_path: Path, how: signal.Signals | None) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | {"TMPDIR": str(tmp_path) if how is None else LONG},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    folder, count = process.stdout.readline().split()
    assert count == "2"
    assert len(folder) < 20 or how is None
    assert oct(Path(folder).stat().st_mode)[-3:] == "700"
    time.sleep(0.5)
    assert Path(folder).is_dir()  # as long as it lives
    if how is None:
        process.stdin.close()
    else:
        process.send_signal(how)
    process.wait(10)
    end = time.monotonic() + 10
    while Path(folder).exists():
        assert time.monotonic() < end
        time.sleep(0.05)
