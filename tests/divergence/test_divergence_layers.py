"""`rlvr.divergence` needs nothing but torch and numpy; its Triton kernel runs in the interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.paths import REPOSITORY

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


def test_imports_nothing_but_torch_and_numpy() -> None:
    run = subprocess.run(
        [sys.executable, "-c", IMPORTS], capture_output=True, text=True, timeout=120, check=True
    )
    assert run.stdout.split() == []


INTERPRETED = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
TASTE = """
import gc, warnings

gc.disable()
warnings.simplefilter("ignore")  # numpy reports the infinities that the kernel makes on purpose
from rlvr.divergence import dist_stats
from tests.helpers.divergence_cases import BACKENDS, adversarial_rows, check, close_pair, stacked

assert "triton" in BACKENDS
check(*close_pair(2, 300, 0.5), "triton")
x, _ = stacked({name: pair for name, pair in adversarial_rows(2100).items() if "dead" not in name})
for name, value in dist_stats(x, x.clone(), want=("js", "kl_pq", "kl_qp"), backend="triton").items():
    assert value.eq(0.0).all(), name
"""


def test_triton_kernel_in_the_interpreter() -> None:
    """A taste of what the slow test below has in full."""
    pytest.importorskip("triton")
    run = subprocess.run(
        [sys.executable, "-c", TASTE],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
        env=INTERPRETED,
    )
    assert run.returncode == 0, run.stderr


@pytest.mark.slow
def test_triton_kernel_in_the_interpreter_in_full() -> None:
    pytest.importorskip("triton")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-k", "triton"]
    files = [str(HERE / "test_divergence_backends.py"), str(HERE / "test_divergence_linear.py")]
    run = subprocess.run([*command, *files], capture_output=True, text=True, timeout=900, env=INTERPRETED)
    assert run.returncode == 0, run.stdout[-4000:]
    assert " passed" in run.stdout
