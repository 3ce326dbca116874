"""The code on the page about Python runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from rlvr.divergence import WANTS
from tests.helpers.pages import DOCS, blocks, code_of

PAGE = DOCS / "api.md"


@pytest.mark.parametrize("code", blocks(PAGE, "python"), ids=lambda code: code.split()[1])
def test_a_block_runs(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "runs" / "latest"
    (run / "analysis" / "tokens").mkdir(parents=True)
    rows = [{"step": 0, "kind": "eval"}, {"step": 1, "kind": "train", "accuracy": 0.25}]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pq.write_table(pa.table({"js": [0.5]}), run / "analysis" / "tokens" / "part-00000.parquet")
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    names: dict = {"__name__": "page"}
    exec(compile(code, "docs/api.md", "exec"), names)
    assert names.keys() & {"stats", "verdicts", "curve", "plan"}
    if "stats" in names:
        assert names["stats"].js.shape == (5,)
        assert 0 < float(names["stats"].js.max()) <= np.log(2)
    if "verdicts" in names:
        assert names["verdicts"]["a"].correct
    if "curve" in names:
        assert names["curve"] == [(1, 0.25)]
        assert names["tokens"]["js"].to_pylist() == [0.5]
    if "plan" in names:
        assert names["plan"].samples == 256


def test_every_statistic_is_named() -> None:
    assert set(WANTS) <= set(code_of(PAGE))
