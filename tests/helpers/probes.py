"""Probes: learners in a process of their own, whose torch and DeepSpeed nobody else has set up and compile nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from typing import Any

from tests.helpers.paths import REPOSITORY


def run_probe(module: str, *arguments: str) -> Any:
    """What `tests.helpers.<module>` prints for the arguments in its last line, read as JSON."""
    with tempfile.TemporaryDirectory() as compiled:
        # The end of what it says is to be its error.
        own = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "TORCH_EXTENSIONS_DIR": compiled}
        done = subprocess.run(
            [sys.executable, "-m", f"tests.helpers.{module}", *arguments],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            env={**os.environ, **own},
            timeout=900,  # a busy machine takes its time
        )
        assert os.listdir(compiled) == [], "DeepSpeed has compiled something"
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])
