"""The code on the page about Python runs."""

from __future__ import annotations

import inspect
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import rlvr
from rlvr.config import Config
from rlvr.divergence import WANTS
from rlvr.runtime.disk.summary import Summary
from rlvr.validate import validate
from tests.helpers.pages import DOCS, blocks, code_of
from tests.helpers.report_cases import write_analysis, write_training

PAGE = DOCS / "api.md"
TRAIN, READ, ANALYSE, DIVERGENCE, GRADING, PLAIN, SETTINGS = blocks(PAGE, "python")


def run(code: str) -> dict[str, Any]:
    """What the names of a block are once it has run."""
    names: dict[str, Any] = {"__name__": "page"}
    exec(compile(code, "docs/api.md", "exec"), names)
    return names


@pytest.fixture
def latest_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that runs/latest is, with metrics, a dump of responses and an analysis."""
    folder = write_training(tmp_path / "runs", "mine", steps=2)
    write_analysis(folder / "analysis")
    (folder / "samples").mkdir(exist_ok=True)
    rows = [{"sample_id": "a", "text": "so", "reward": 1.0}, {"sample_id": "b", "text": "no", "reward": 0.0}]
    (folder / "samples" / "step_000001.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.mark.slow
def test_the_configuration_that_is_trained() -> None:
    before, call = TRAIN.split("result = ")
    config = run(before)["config"]
    assert isinstance(config, Config)
    assert (config.recipe, config.steps, config.run.name, config.learner.lr) == ("grpo", 20, "mine", 5e-5)
    validate(config)
    assert call.startswith("rlvr.train(config)")
    assert "result.summary.eval_accuracy_after" in call
    assert {field.name for field in fields(rlvr.RunResult)} == {"summary", "run"}
    assert "eval_accuracy_after" in {field.name for field in fields(Summary)}


@pytest.mark.slow
@pytest.mark.usefixtures("latest_run")
def test_a_run_is_read() -> None:
    names = run(READ)
    assert names["steps"]["step"].to_pylist() == [1, 2]
    assert names["samples"]["text"].to_pylist() == ["so", "no"]
    found = names["trained"]
    assert found.token_table().num_rows == found.analysis().tokens().num_rows > 0


@pytest.mark.slow
def test_an_analysis_as_it_is_called(latest_run: Path) -> None:
    assert 'rlvr.analyze("runs/latest", overrides=["select.samples=2"])' in ANALYSE
    inspect.signature(rlvr.api.analyze).bind("runs/latest", overrides=["select.samples=2"])
    found = rlvr.load_run(latest_run).analysis()
    assert found.headline
    for name in found.tables:
        found.table(name)
    assert found.tokens().num_rows > 0


def test_divergences() -> None:
    torch.manual_seed(0)
    stats = run(DIVERGENCE)["stats"]
    assert stats.js.shape == (5,)
    assert 0 < float(stats.js.max()) <= np.log(2)
    assert set(WANTS) <= set(code_of(PAGE))


@pytest.mark.slow
def test_grading() -> None:
    assert run(GRADING)["verdicts"]["a"].correct


@pytest.mark.slow
@pytest.mark.usefixtures("latest_run")
def test_files_without_rlvr() -> None:
    names = run(PLAIN)
    assert [step for step, _ in names["curve"]] == [1, 2]
    assert names["tokens"].num_rows > 0
    assert names["tokens"].schema.field("js").metadata[b"unit"] == b"nats"


def test_settings() -> None:
    assert run(SETTINGS)["plan"].samples == 256
