"""Warnings as a command prints them, in a process of its own: the test runner sets logging up for itself."""

from __future__ import annotations

import subprocess
import sys

import pytest

SAID = """
import logging
from rlvr.cli.shown_warnings import show_warnings
show_warnings()
logging.getLogger("rlvr.data.overlap").warning("one")
alone = logging.getLogger("alone")
alone.addHandler(logging.StreamHandler())
logging.getLogger("alone.part").warning("two")
alone.propagate = False
logging.getLogger("alone.part").warning("three")
quiet = logging.getLogger("quiet")
quiet.addHandler(logging.NullHandler())
quiet.warning("four")
"""


@pytest.mark.slow
def test_each_warning_is_printed_once():
    run = subprocess.run([sys.executable, "-c", SAID], capture_output=True, text=True, timeout=60, check=True)
    assert run.stderr.splitlines() == [
        "WARNING rlvr.data.overlap: one",
        "two",
        "three",
        "WARNING quiet: four",
    ]
