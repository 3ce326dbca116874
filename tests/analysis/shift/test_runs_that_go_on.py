"""What an analysis takes of a run that has not ended, or goes on after it had."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rlvr.analysis.run import policy_of_run
from rlvr.analysis.shift.inputs import with_run
from rlvr.config import Config
from rlvr.runtime.disk.folder import RunFolder
from tests.helpers.analyze_cases import write_responses
from tests.helpers.checkpoints import save


@pytest.mark.parametrize("ended_before", [False, True])
def test_the_newest_checkpoint_is_the_policy_and_has_the_responses_of_its_own_weights(
    tmp_path, caplog, ended_before
):
    """It is the policy, also where an earlier end of the run has left one."""
    run = tmp_path / "run"
    if ended_before:
        (run / "policy").mkdir(parents=True)
        (run / "policy" / "config.json").write_text("{}")
    (run / "checkpoints").mkdir(parents=True)
    for step in (4, 8):
        save(RunFolder(tmp_path, "run"), Config(recipe="test"), step, lambda folder: None)
    shutil.copy(run / "checkpoints/step_000008/config.yaml", run / "config.yaml")
    for step in (0, 6, 8, 9, 12):
        write_responses(run / "samples" / f"eval_{step:06d}.jsonl", seed=step)
    cfg = with_run(str(run))
    assert Path(cfg.model.path).name == "step_000008"
    assert [Path(p).name for p in (*cfg.responses, *cfg.base_responses)] == [
        "eval_000008.jsonl",
        "eval_000000.jsonl",
    ]
    if ended_before:
        for named in (run, run / "policy"):
            caplog.clear()
            assert policy_of_run(str(named))[0] == str(run / "policy")
            assert "is of an earlier end of a run that goes on" in caplog.text
        (run / "summary.json").write_text('{"steps": 8}')
        assert Path(with_run(str(run)).model.path).name == "policy"
        caplog.clear()
        policy_of_run(str(run))
        assert not caplog.text
