"""Under ZeRO-3 two ranks load a model in shards: neither ever holds it whole, and together it is the model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rlvr.cluster.machine import free_port
from rlvr.data.tokenizer import model_folder
from tests.helpers.models import tied_model
from tests.helpers.processes import REPOSITORY

pytestmark = pytest.mark.e2e


def both_ranks(folder: str, dtype: str) -> list[dict]:
    port = str(free_port())
    ranks = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.helpers.sharded_load_probe", str(rank), port, folder, dtype],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        outputs = [rank.communicate(timeout=200) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    for rank, (_, said) in zip(ranks, outputs, strict=True):
        assert rank.returncode == 0, said[-3000:]
    return [json.loads(out.splitlines()[-1]) for out, _ in outputs]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", ["builtin", "llama"])
def test_each_rank_loads_its_share(tmp_path: Path, family: str, dtype: str) -> None:
    folder = model_folder("builtin") if family == "builtin" else tied_model(tmp_path, family)
    for found in both_ranks(folder, dtype):
        assert found["same_names"]
        assert found["different"] == []
        assert found["held"] < 0.51 * found["parameters"]
        assert found["whole_afterwards"] == found["parameters"]
