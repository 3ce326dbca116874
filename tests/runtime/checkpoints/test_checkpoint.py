"""Checkpoints: whole or not at all, found again, and refused where the configuration changed."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from rlvr.errors import CheckpointError, ConfigError
from rlvr.runtime.checkpoints.checkpoint import (
    changes_until,
    find_checkpoint,
    list_checkpoints,
    load_state,
    set_aside_later,
)
from rlvr.runtime.disk.checkpoint_folders import step_name
from rlvr.runtime.disk.folder import read_changes
from rlvr.runtime.disk.manifest import NAME as MANIFEST
from rlvr.runtime.disk.summary import ChangedSetting
from tests.helpers.checkpoints import STATE, learner, names, save


@pytest.mark.slow
def test_what_is_saved_is_loaded(folder, cfg):
    path = save(folder, cfg, 10)
    assert path == folder.checkpoints / "step_000010"
    assert load_state(path, cfg) == STATE
    assert (path / "deepspeed" / "weights.pt").read_bytes() == b"weights"
    assert names(folder) == ["step_000010"]


@pytest.mark.slow
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("file write failed")])
def test_a_failed_save_leaves_older_checkpoints_and_no_draft(folder, cfg, error):
    save(folder, cfg, 10)

    def full_disk(target: str) -> None:
        learner(target)
        raise error

    with pytest.raises(CheckpointError, match=r"step 20.*not written.*run\.resume=auto"):
        save(folder, cfg, 20, full_disk)
    assert names(folder) == ["step_000010"]
    assert load_state(folder.checkpoints / "step_000010", cfg) == STATE
    # The same step can be tried again.
    save(folder, cfg, 20)
    assert names(folder) == ["step_000010", "step_000020"]


@pytest.mark.slow
def test_a_failed_save_of_the_same_step_keeps_the_earlier_one(folder, cfg):
    save(folder, cfg, 10)

    def full_disk(target: str) -> None:
        raise OSError("full")

    with pytest.raises(CheckpointError):
        save(folder, cfg, 10, full_disk)
    assert load_state(folder.checkpoints / "step_000010", cfg) == STATE


def test_a_draft_left_by_a_kill_is_neither_found_nor_in_the_way(folder, cfg):
    class Killed(BaseException):
        pass

    def killed(target: str) -> None:
        learner(target)
        raise Killed

    with pytest.raises(Killed):
        save(folder, cfg, 10, killed)
    assert list_checkpoints(folder) == []
    assert find_checkpoint(folder, "auto") is None
    save(folder, cfg, 10)
    assert names(folder) == ["step_000010"]


@pytest.mark.slow
def test_only_the_last_k_are_kept(folder, cfg):
    cfg.run.keep_last = 2
    for step in (5, 10, 15, 20):
        save(folder, cfg, step)
    assert names(folder) == ["step_000015", "step_000020"]
    cfg.run.keep_last = 1
    save(folder, cfg, 25)
    assert names(folder) == ["step_000025"]


@pytest.mark.slow
def test_a_checkpoint_just_written_is_never_dropped(folder, cfg):
    """After resuming from an older one, later checkpoints of the abandoned part still lie there."""
    cfg.run.keep_last = 3
    for step in (10, 20, 30):
        save(folder, cfg, step)
    cfg.run.keep_last = 2
    path = save(folder, cfg, 15)
    assert load_state(path, cfg).step == 15


# Finding


def test_what_the_file_system_holds_on_to_does_not_end_the_run(folder, cfg, monkeypatch):
    def busy(path: Path, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            raise OSError(16, "Device or resource busy")

    cfg.run.keep_last = 1
    save(folder, cfg, 10)
    monkeypatch.setattr(shutil, "rmtree", busy)
    save(folder, cfg, 20)
    assert find_checkpoint(folder, "auto") == folder.checkpoints / "step_000020"
    assert [name for name in names(folder) if name.startswith("step_")] == ["step_000020"]


@pytest.mark.slow
def test_later_checkpoints_are_set_aside_as_often_as_one_goes_back(folder, cfg):
    cfg.run.keep_last = 3
    for _ in range(3):
        for step in (10, 20, 30):
            save(folder, cfg, step)
        set_aside_later(folder, 10)
        assert find_checkpoint(folder, "auto") == folder.checkpoints / "step_000010"
    assert {"abandoned_step_000030", "abandoned_step_000030-1", "abandoned_step_000030-2"} <= set(
        names(folder)
    )


def test_auto_finds_the_newest_and_never_finds_none(folder, cfg):
    assert find_checkpoint(folder, "auto") is None
    for step in (5, 100):
        save(folder, cfg, step)
    assert find_checkpoint(folder, "auto") == folder.checkpoints / "step_000100"
    assert find_checkpoint(folder, "never") is None
    older = folder.checkpoints / "step_000005"
    assert find_checkpoint(folder, str(older)) == older


def test_an_incomplete_folder_is_not_a_checkpoint(folder, cfg):
    (folder.checkpoints / "step_000099").mkdir()
    assert find_checkpoint(folder, "auto") is None


def test_a_bad_path_says_what_one_looks_like(folder, tmp_path):
    for path in (tmp_path / "nowhere", folder.path):
        with pytest.raises(ConfigError, match=r"run\.resume=.*no state\.json.*step_000020"):
            find_checkpoint(folder, str(path))


def test_step_names_sort_by_step():
    assert sorted([step_name(100), step_name(9), step_name(20)]) == [
        step_name(9),
        step_name(20),
        step_name(100),
    ]


# Resuming with another configuration


@pytest.mark.slow
@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        (None, "seed", 2),
        ("learner", "betas", [0.9, 0.999]),  # Adam's moments depend on them
        ("loss", "clip_high", 0.28),  # another aim
        ("rollout", "samples_per_prompt", 8),
        ("model", "path", "other"),
        ("learner", "workers", 2),
        ("learner", "updates_per_step", 2),
        ("advantage", "options", {"alpha": 1.0}),
        ("data", "prompts_per_step", 8),
        ("reward", "correct", 2.0),
    ],
)
def test_a_changed_key_is_refused_by_name(folder, cfg, section, key, value):
    path = save(folder, cfg, 10)
    setattr(cfg if section is None else getattr(cfg, section), key, value)
    name = key if section is None else f"{section}.{key}"
    with pytest.raises(ConfigError, match=rf"resuming from .*{name}.* was .*, is "):
        load_state(path, cfg)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        (None, "steps", 999),
        ("run", "name", "elsewhere"),
        ("run", "save_every", 1),
        ("tracking", "wandb", "off"),
        ("tracking", "tags", ["a"]),
        ("eval", "every", 1),
        ("eval", "in_stream", "never"),
        ("cluster", "cpus", 4),
        ("reward", "workers", 7),
        ("rollout", "deadline_seconds", 1.0),
        ("learner", "deadline_seconds", 1.0),
        ("learner", "tokens_per_micro_batch", 64),  # the remedies for too little memory
        ("model", "gradient_checkpointing", True),
        ("learner", "mlp_tile_tokens", 64),
        ("rollout", "kv_cache_mb", 64),
        ("rollout", "max_rounds", 9),  # that for a step without a group
        ("sync", "deadline_seconds", 1.0),
    ],
)
def test_keys_that_change_no_number_are_free(folder, cfg, section, key, value):
    path = save(folder, cfg, 10)
    setattr(cfg if section is None else getattr(cfg, section), key, value)
    assert load_state(path, cfg) == STATE


@pytest.mark.slow
def test_the_schedule_of_a_set_is_as_free_as_that_of_all(folder, cfg):
    path = save(folder, cfg, 10)
    cfg.data.eval[0].every = 5
    assert load_state(path, cfg) == STATE
    cfg.data.eval[0].temperature = 0.5
    with pytest.raises(ConfigError, match=r"data\.eval\.0\.temperature was None, is 0\.5"):
        load_state(path, cfg)


@pytest.mark.slow
def test_evaluations_under_way_are_part_of_the_state(folder, cfg):
    path = save(folder, cfg, 10)
    content = json.loads((path / "state.json").read_text())
    (path / MANIFEST).unlink()
    (path / "state.json").write_text(json.dumps(content | {"readings": [4, 8]}))
    assert load_state(path, cfg) == replace(STATE, readings=(4, 8))
    del content["readings"]  # as earlier versions wrote it
    (path / "state.json").write_text(json.dumps(content))
    assert load_state(path, cfg) == STATE


@pytest.mark.slow
def test_a_checkpoint_of_an_earlier_version_lacks_keys_and_knows_old_names(folder, cfg):
    cfg.advantage.estimator = "reinforce_pp"
    path = save(folder, cfg, 10)
    saved = OmegaConf.load(path / "config.yaml")
    del saved.advantage.ddof, saved.reward.max_failed
    OmegaConf.save(saved, path / "config.yaml")
    (path / MANIFEST).unlink()  # it had none either
    assert load_state(path, cfg) == STATE
    cfg.advantage.estimator = "reinforce_pp_samples"  # what it is called now
    assert load_state(path, cfg) == STATE
    cfg.advantage.ddof = 1
    with pytest.raises(ConfigError, match=r"advantage\.ddof was 0, is 1"):
        load_state(path, cfg)
    cfg.advantage.ddof, cfg.advantage.estimator = 0, "reinforce_pp_baseline"
    with pytest.raises(ConfigError, match=r"advantage\.estimator was 'reinforce_pp_samples', is"):
        load_state(path, cfg)


@pytest.mark.parametrize("damage", ["state.json", "config.yaml"])
@pytest.mark.parametrize("content", [None, "", "{", "[1, 2]", "a: [b"])
def test_a_damaged_checkpoint_is_an_error_of_its_own(folder, cfg, damage, content):
    path = save(folder, cfg, 10)
    if content is None:
        (path / damage).unlink()
    else:
        (path / damage).write_text(content)
    with pytest.raises(CheckpointError, match=r"step_000010: cannot be read"):
        load_state(path, cfg)


def test_state_of_another_version_is_an_error_of_its_own(folder, cfg):
    path = save(folder, cfg, 10)
    (path / "state.json").write_text(json.dumps({"step": 10}))
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_state(path, cfg)


# Changes on the record


@pytest.mark.slow
def test_the_size_of_updates_may_change_on_the_record(folder, cfg):
    path = save(folder, cfg, 10)
    assert changes_until(path, cfg) == ()
    now = {"lr": 3e-5, "schedule": "cosine", "warmup_updates": 5, "max_grad_norm": 0.5, "weight_decay": 0.01}
    was = {key: getattr(cfg.learner, key) for key in now}
    for key, value in now.items():
        setattr(cfg.learner, key, value)
    cfg.steps = 120  # under a schedule the learning rate depends on it
    assert load_state(path, cfg) == STATE
    changes = changes_until(path, cfg)
    learner_keys = {f"learner.{key}": (was[key], value) for key, value in now.items()}
    assert {c.key: (c.old, c.new) for c in changes} == {**learner_keys, "steps": (60, 120)}
    assert {c.step for c in changes} == {10}

    folder.write_changes(changes)
    later = save(folder, cfg, 20)
    assert changes_until(later, cfg) == changes  # nothing new
    cfg.learner.lr = 1e-5
    assert changes_until(later, cfg) == (*changes, ChangedSetting(20, "learner.lr", 3e-5, 1e-5))
    # Back before the changes they have not been.
    folder.write_changes(changes_until(path, replace(cfg, steps=60, learner=replace(cfg.learner, **was))))
    assert read_changes(folder.path / "changes.jsonl") == ()


@pytest.mark.slow
def test_more_steps_are_no_change_under_a_constant_rate(folder, cfg):
    path = save(folder, cfg, 10)
    cfg.steps = 120
    assert changes_until(path, cfg) == ()


@pytest.mark.slow
def test_steps_stay_as_they_are_where_a_plug_in_reads_the_progress(folder, cfg):
    cfg.advantage.options, cfg.learner.schedule = {"alpha_end": 1.0}, "linear"
    path = save(folder, cfg, 10)
    cfg.steps = 120
    with pytest.raises(ConfigError, match="steps was 60, is 120"):
        load_state(path, cfg)
