"""The folder of a run as the analyses read it, also where somebody has been at it."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from rlvr.analysis.run import LoadedRun, load_run, read_run, without_training
from rlvr.analysis.shift.inputs import SHARED_SECTIONS
from rlvr.config import Config
from rlvr.errors import DataError
from rlvr.validate import validate
from tests.helpers.composing import compose


@pytest.fixture
def run(tmp_path: Path) -> LoadedRun:
    """A finished run of 60 steps, with copies of its checkpoints."""
    (tmp_path / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.structured(Config(recipe="test"))))
    for name in ("step_000040", "step_000060", "step_000060.bak", "step_000040_keep", "step_best"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
        (tmp_path / "checkpoints" / name / "state.json").write_text("{}")
    (tmp_path / "summary.json").write_text('{"steps": 60}')
    return read_run(tmp_path)


def test_copies_of_checkpoints_are_none(run):
    assert [path.name for path in run.checkpoints()] == ["step_000040"]


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"steps": 6', b"\xff"])
def test_a_summary_that_cannot_be_read_is_named(run, content):
    (run.folder / "summary.json").write_bytes(content)
    with pytest.raises(DataError, match=r"summary\.json: not the summary of a finished run .*move it away"):
        run.checkpoints()
    with pytest.raises(DataError, match=r"summary\.json: not the summary of a run"):
        load_run(run.folder)


def test_metrics_are_read_around_a_damaged_row(run, caplog):
    rows = [
        '{"step": 1, "kind": "train"}',
        '{"step": 2, "ki',
        "[]",
        '{"step": 3}',
        '{"step": 4, "kind": "train"}',
    ]
    (run.folder / "metrics.jsonl").write_text("\n".join(rows) + "\n")
    assert run.metrics("train")["step"].to_pylist() == [1, 4]
    assert "line 2, 3 holds no row" in caplog.text


@pytest.mark.parametrize(
    "overrides",
    [
        ("recipe=sft",),
        ("recipe=rloo", "rollout.samples_per_prompt=1"),
        ("recipe=dapo", "rollout.staleness=1", "rollout.replay=runs/mine", "rollout.engines=2"),
        ("recipe=grpo_kl_reward", "reward.correct=0", "reward.incorrect=0"),
        ("recipe=dapo_long_context",),
    ],
)
def test_what_only_training_reads_is_in_no_samplings_way(overrides):
    """An analysis samples with the sections of a run, but without its loss and its estimator."""
    trained = compose(*overrides)
    validate(trained)
    sections = {name: getattr(trained, name) for name in SHARED_SECTIONS}
    validate(without_training(Config(recipe="analyze", **sections)))
    validate(without_training(trained))
