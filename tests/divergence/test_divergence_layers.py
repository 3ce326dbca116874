"""`rlvr.divergence` needs nothing but torch and numpy; its Triton kernel runs in the interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
IMPORTS = """
import sys
import torch
before = set(sys.modules)
import rlvr.divergence
top = {name.partition('.')[0] for name in set(sys.modules) - before}
print(*sorted(top - set(sys.stdlib_module_names) - {'torch', 'numpy', 'rlvr'}))
print(*sorted(n for n in sys.modules if n.startswith('rlvr.') and not n.startswith('rlvr.divergence')))
"""


@pytest.mark.slow
def test_imports_nothing_but_torch_and_numpy() -> None:
    run = subprocess.run(
        [sys.executable, "-c", IMPORTS], capture_output=True, text=True, timeout=120, check=True
    )
    assert run.stdout.split() == []


@pytest.mark.slow
def test_triton_kernel_in_the_interpreter() -> None:
    pytest.importorskip("triton")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    files = [str(HERE / "test_divergence_backends.py"), str(HERE / "test_divergence_linear.py")]
    environment = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [*command, *files, "-k", "triton"], capture_output=True, text=True, timeout=600, env=environment
    )
    assert run.returncode == 0, run.stdout[-4000:]
    assert " passed" in run.stdout
