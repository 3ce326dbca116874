"""A damaged checkpoint is one sentence, whoever reads it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from rlvr.analysis.models import load_causal_lm, read_model
from rlvr.analysis.run import read_run
from rlvr.cli.export import export
from rlvr.errors import CheckpointError
from rlvr.runtime.checkpoints.checkpoint import load_state
from tests.helpers.exports import run_with_checkpoint


def lost(path: Path) -> None:
    """A file or a folder is gone."""
    shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize(
    ("name", "harm", "why"),
    [
        ("deepspeed/mp_rank_00_model_states.pt", lambda file: os.truncate(file, 1000), "has 1000 bytes, was"),
        ("deepspeed", lost, "is missing"),
        ("state.json", lost, "is missing"),
        ("config.yaml", lost, "is missing"),
        ("config.yaml", lambda file: file.write_bytes(b"\0"), "has 1 bytes, was"),
    ],
)
def test_resume_export_and_analysis_say_the_same_of_a_damaged_checkpoint(tmp_path, name, harm, why):
    checkpoint = run_with_checkpoint(tmp_path)
    cfg = read_run(checkpoint).config
    shutil.copytree(checkpoint, earlier := checkpoint.with_name("step_000003"))
    harm(checkpoint / name)
    said = set()
    for read in (
        lambda: load_state(checkpoint, cfg),
        lambda: export(checkpoint, tmp_path / "out"),
        lambda: load_causal_lm(str(checkpoint), cfg.model, "cpu"),
        lambda: read_model("policy", str(checkpoint), trust_remote_code=False, checkpoint=True),
    ):
        with pytest.raises(CheckpointError) as error:
            read()
        said.add(str(error.value))
    [sentence] = said
    assert f"checkpoint {checkpoint}: cannot be read ({name}" in sentence
    assert why in sentence
    assert f"run.resume={earlier}" in sentence
    assert not (tmp_path / "out").exists()
