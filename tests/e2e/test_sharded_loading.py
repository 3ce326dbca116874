"""Under ZeRO-3 two ranks load a model in shards: neither ever holds it whole, and together it is the model."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from rlvr.cluster.machine import free_port
from rlvr.data.models.tokenizer import model_folder
from tests.helpers.models import tied_model
from tests.helpers.paths import REPOSITORY

pytestmark = pytest.mark.e2e


CASES = [(family, dtype) for family in ("builtin", "llama") for dtype in ("float32", "bfloat16")]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], list[dict]]:
    """What both ranks say of every case; the same two processes load them all."""
    llama = tied_model(tmp_path_factory.mktemp("llama"), "llama")
    folders = {"builtin": model_folder("builtin"), "llama": llama}
    models = [word for family, dtype in CASES for word in (folders[family], dtype)]
    port = str(free_port())
    ranks = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.helpers.sharded_load_probe", str(rank), port, *models],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        outputs = [rank.communicate(timeout=400) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    for rank, (_, said) in zip(ranks, outputs, strict=True):
        assert rank.returncode == 0, said[-3000:]
    said = [json.loads(out.splitlines()[-1]) for out, _ in outputs]
    return dict(zip(CASES, map(list, zip(*said, strict=True)), strict=True))


@pytest.mark.parametrize(("family", "dtype"), CASES)
def test_each_rank_loads_its_share(
    loaded: dict[tuple[str, str], list[dict]], family: str, dtype: str
) -> None:
    assert len(loaded[family, dtype]) == 2
    for found in loaded[family, dtype]:
        assert found["same_names"]
        assert found["different"] == []
        assert found["held"] < 0.51 * found["parameters"]
        assert found["whole_afterwards"] == found["parameters"]
