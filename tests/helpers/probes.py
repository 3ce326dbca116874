"""Probes: learners in a process of their own, whose torch and DeepSpeed nobody else has set up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from tests.helpers.paths import REPOSITORY


def run_probe(module: str, *arguments: str) -> Any:
    """What `tests.helpers.<module>` prints for the arguments in its last line, read as JSON."""
    done = subprocess.run(
        [sys.executable, "-m", f"tests.helpers.{module}", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_DISABLE_PROGRESS_BARS": "1"},  # the end of what it says is to be its error
        timeout=900,  # a busy machine takes its time
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])
