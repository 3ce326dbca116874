"""Which ninja torch finds, wherever a process was started from."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from rlvr.divergence.building import own_ninja

LOOKS = """
from rlvr.divergence.building import own_ninja
from torch.utils.cpp_extension import is_ninja_available
print(is_ninja_available())
with own_ninja():
    print(is_ninja_available())
"""


@pytest.mark.parametrize("before", [None, "", "/usr/bin:/bin"])
def test_the_environments_own_comes_first_and_only_for_the_block(before, monkeypatch):
    monkeypatch.delenv("PATH") if before is None else monkeypatch.setenv("PATH", before)
    with own_ninja():
        found = shutil.which("ninja")
        assert found is not None
        assert os.path.samefile(os.path.dirname(found), os.path.dirname(sys.executable))
        assert os.environ["PATH"].partition(":")[2] == (before or "")
    assert os.environ.get("PATH") == before


@pytest.mark.slow
def test_torch_finds_it_where_path_has_none(tmp_path):
    """As on a machine without a ninja of its own, where the environment was not activated."""
    said = subprocess.check_output(
        [sys.executable, "-c", LOOKS], env={"PATH": str(tmp_path)}, text=True, timeout=300
    )
    assert said.split() == ["False", "True"]
