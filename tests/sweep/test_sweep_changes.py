"""Which finished and unfinished jobs are of another configuration than the one that is asked for."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from omegaconf import OmegaConf, open_dict

from rlvr.config import Config
from rlvr.data.models.identity import identities
from rlvr.sweep.plan import changed_keys


@pytest.mark.slow
def test_only_keys_that_change_the_result_make_a_finished_job_another(tmp_path):
    cfg = Config(recipe="dapo")
    cfg.advantage.options = {"alpha": 1.0}
    (tmp_path / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.structured(cfg)))
    assert changed_keys(tmp_path, cfg) == []
    same = replace(cfg, run=replace(cfg.run, root="x", resume="auto"), cluster=replace(cfg.cluster, cpus=2))
    assert changed_keys(tmp_path, same) == []
    other = replace(cfg, steps=3, advantage=replace(cfg.advantage, options={"alpha": 2.0}))
    assert changed_keys(tmp_path, other) == [
        "steps was 60, is 3",
        "advantage.options was {'alpha': 1.0}, is {'alpha': 2.0}",
    ]
    other = replace(cfg, rollout=replace(cfg.rollout, engine_args={"swap_space": 0}))
    assert changed_keys(tmp_path, other) == ["rollout.engine_args was {}, is {'swap_space': 0}"]
    saved = OmegaConf.load(tmp_path / "config.yaml")
    with open_dict(saved):
        del saved.loss["rollout_correction_mode"]  # a key that the version which wrote it lacked
    OmegaConf.save(saved, tmp_path / "config.yaml")
    assert changed_keys(tmp_path, cfg) == []


def test_the_same_model_at_another_place_is_no_other_configuration(tmp_path):
    def at(place: Path) -> Config:
        return replace(cfg, model=replace(cfg.model, path=str(place)))

    def finished(**summary: object) -> None:
        (run / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.structured(at(first))))
        (run / "summary.json").write_text(json.dumps(summary))

    cfg, run, first, moved, other = Config(recipe="dapo"), *(tmp_path / n for n in ("r", "a", "b", "c"))
    for folder, weights in ((run, ""), (first, "1234"), (other, "1235")):
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_text(weights)
    models = identities(at(first).model)
    shutil.copytree(first, moved)
    finished()  # of before it was kept: both are still there
    assert changed_keys(run, at(moved)) == []
    assert changed_keys(run, at(other)) == [f"model.path was {first}, is {other}"]
    shutil.rmtree(first)
    assert changed_keys(run, at(moved)) == [f"model.path was {first}, is {moved}"]
    finished(models=models)
    assert changed_keys(run, at(moved)) == []
    assert changed_keys(run, at(other)) == [f"model.path was {first}, is {other}"]
    assert changed_keys(run, at(tmp_path / "nowhere"))
    finished(models="damaged")
    assert changed_keys(run, at(moved))


@pytest.mark.slow
def test_an_unfinished_job_does_not_change_on_its_way(tmp_path):
    cfg = Config(recipe="dapo")
    (tmp_path / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.structured(cfg)))
    other = replace(cfg, learner=replace(cfg.learner, lr=1e-3), rollout=replace(cfg.rollout, max_rounds=9))
    assert changed_keys(tmp_path, other, finished=False) == []  # it has not come to a checkpoint
    checkpoint = tmp_path / "checkpoints" / "step_000020"
    checkpoint.mkdir(parents=True)
    (checkpoint / "state.json").write_text("{}")
    assert changed_keys(tmp_path, other, finished=False) == ["learner.lr was 0.0001, is 0.001"]
    assert changed_keys(tmp_path, replace(other, learner=cfg.learner), finished=False) == []  # a remedy may
    assert changed_keys(tmp_path, replace(other, learner=cfg.learner)) == ["rollout.max_rounds was 3, is 9"]
