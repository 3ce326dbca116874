"""Where a run begins: never in silence at step 1 where there has been more."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from rlvr.config import Config
from rlvr.errors import ConfigError
from rlvr.runtime.beginning import find_start, settle_latest, take_folder
from rlvr.runtime.checkpoints.buffer import READY_GROUPS
from rlvr.runtime.disk.folder import BATCHES, RunFolder
from rlvr.runtime.disk.rewind import ATTEMPTS
from rlvr.runtime.disk.settings import CONFIG_FILE, as_yaml
from tests.helpers.checkpoints import MODELS, SEEN, save

INPUTS = SimpleNamespace(seen=SEEN)


def content(folder: RunFolder) -> dict[str, bytes]:
    return {str(p.relative_to(folder.path)): p.read_bytes() for p in folder.path.rglob("*") if p.is_file()}


def record(folder: RunFolder, steps: int) -> None:
    """What a run writes in its first steps, without a checkpoint."""
    folder.append_metrics({"step": 0, "kind": "eval"})
    (folder.samples / "eval_000000.jsonl").write_text("0\n")
    for step in range(1, steps + 1):
        folder.append_metrics({"step": step, "kind": "train"})
        folder.append_batch({"step": step})
        (folder.samples / f"step_{step:06d}.jsonl").write_text(f"{step}\n")


def begin(cfg: Config, folder: RunFolder) -> tuple[Path | None, int, bool]:
    """As a session does before it starts anything."""
    checkpoint, start, _ = find_start(cfg, folder, INPUTS, MODELS)
    _, goes_on = take_folder(cfg, folder, checkpoint, start.step)
    return checkpoint, start.step, goes_on


@pytest.fixture
def killed(folder: RunFolder, cfg: Config) -> RunFolder:
    """A run that was killed in step 21, and has lost the checkpoint of step 20."""
    cfg.run.resume = "auto"
    record(folder, 21)
    return folder


@pytest.fixture
def finished(killed: RunFolder, cfg: Config) -> RunFolder:
    cfg.steps = 30
    for step in (20, 30):
        save(killed, cfg, step)
    killed.summary.write_text('{"steps": 30}')
    killed.policy.mkdir()
    (killed.policy / "config.json").write_text("{}")
    return killed


def test_a_run_that_ended_before_its_first_checkpoint_begins_again_and_loses_nothing(folder, cfg, caplog):
    cfg.run.resume = "auto"
    record(folder, 20)  # the checkpoint of this step was not written any more
    (folder.path / READY_GROUPS).write_text("groups")
    before = content(folder)
    assert begin(cfg, folder) == (None, 0, False)
    assert folder.read_metrics() == []
    assert list(folder.samples.iterdir()) == []
    assert (folder.path / READY_GROUPS).read_text() == "groups"
    aside = folder.path / "abandoned_attempt"
    assert (
        f"begins again at step 1, for an earlier attempt has left no checkpoint; what it has written is in {aside}"
        in (caplog.text)
    )
    moved = {
        name: text for name, text in before.items() if name.startswith(("samples", "metrics", "batches"))
    }
    assert {str(p.relative_to(aside)): p.read_bytes() for p in aside.rglob("*") if p.is_file()} == moved
    record(folder, 3)
    begin(cfg, folder)
    assert (folder.path / "abandoned_attempt-1" / BATCHES).read_text().count("\n") == 3


def test_of_attempts_that_ended_before_a_checkpoint_the_newest_are_kept(folder, cfg):
    cfg.run.resume = "auto"
    for attempt in range(1, ATTEMPTS + 4):
        record(folder, attempt)  # as many rows as the attempt's number
        begin(cfg, folder)
    kept = sorted((path / BATCHES).read_text().count("\n") for path in folder.path.glob("abandoned_*"))
    assert kept == list(range(4, ATTEMPTS + 4))


def test_a_run_that_recorded_nothing_begins_again_without_a_word(folder, cfg, caplog):
    cfg.run.resume = "auto"
    (folder.samples / "offending_samples.jsonl").touch()
    before = content(folder)
    begin(cfg, folder)
    assert content(folder).keys() == before.keys()
    assert not caplog.text


def test_a_run_without_checkpoints_on_the_way_begins_again(folder, cfg):
    cfg.run.resume, cfg.run.save_every = "auto", 0
    folder.create(cfg)
    record(folder, 50)
    assert begin(cfg, folder)[1] == 0


def test_a_run_that_has_lost_its_checkpoints_is_refused_untouched(killed, cfg):
    before = content(killed)
    with pytest.raises(
        ConfigError,
        match=r"run\.resume=auto: .*mine has recorded step 21, with a checkpoint every 20 steps, but has no "
        r"checkpoint.*Put its checkpoints back as .*step_<number>, or choose another run\.name",
    ):
        begin(cfg, killed)
    killed.metrics_file.write_bytes(bytes(100))  # the samples say the same
    with pytest.raises(ConfigError, match="has recorded step 21"):
        begin(cfg, killed)
    assert content(killed) == before | {"metrics.jsonl": bytes(100)}


@pytest.mark.parametrize("gone", [(), ("summary.json",)])
def test_a_finished_run_without_its_checkpoints_is_refused_untouched(finished, cfg, gone):
    shutil.rmtree(finished.checkpoints)
    for name in gone:
        (finished.path / name).unlink()
    finished.metrics_file.write_bytes(b"")
    before = content(finished)
    shown = "has exported its policy" if gone else r"has finished \(summary\.json\)"
    with pytest.raises(ConfigError, match=rf"mine {shown}, but has no checkpoint to go on from"):
        begin(cfg, finished)
    cfg.run.resume = "never"
    with pytest.raises(ConfigError, match="already holds a run"):
        begin(cfg, finished)
    assert content(finished) == before


def test_checkpoints_under_other_names_show_that_there_were_some(folder, cfg):
    cfg.run.resume = "auto"
    save(folder, cfg, 10).rename(folder.checkpoints / "step_000010.bak")
    with pytest.raises(
        ConfigError, match=r"has step_000010\.bak in checkpoints, but has no checkpoint to go on from"
    ):
        begin(cfg, folder)


# A finished run goes on


def test_a_later_checkpoint_under_another_name_is_spoken_of(finished, cfg):
    cfg.steps = 40
    newest = finished.checkpoints / "step_000030"
    newest.rename(finished.checkpoints / "global_step_30")
    shutil.copytree(finished.checkpoints / "step_000020", finished.checkpoints / "step_000020.bak")
    shutil.copytree(finished.checkpoints / "global_step_30", finished.checkpoints / "abandoned_step_000030")
    checkpoint, _, [note] = find_start(cfg, finished, INPUTS, MODELS)
    assert checkpoint is not None
    assert checkpoint.name == "step_000020"
    assert (
        "global_step_30 is the checkpoint of step 30 under another name, and the run goes on from step 20"
        in note
    )
    (finished.checkpoints / "global_step_30").rename(newest)
    assert find_start(cfg, finished, INPUTS, MODELS)[2] == []


def test_a_finished_run_is_done(finished, cfg):
    with pytest.raises(ConfigError, match="already has 30 steps; raise steps"):
        begin(cfg, finished)


@pytest.mark.parametrize(
    "text", [b"", b'{"steps": 3', b"[]", b"{}", b"null", b'{"steps": "30"}', b"\xff\xfe", bytes(9)]
)
@pytest.mark.parametrize("steps", [30, 40])
def test_a_summary_that_cannot_be_read_is_put_aside_and_written_anew(finished, cfg, caplog, text, steps):
    finished.summary.write_bytes(text)
    cfg.steps = steps
    assert begin(cfg, finished) == (finished.checkpoints / "step_000030", 30, True)
    assert f"{finished.summary}: damaged (" in caplog.text
    assert "writes it anew, kept: abandoned_policy, abandoned_summary.json" in caplog.text
    assert (finished.path / "abandoned_summary.json").read_bytes() == text
    assert (finished.path / "abandoned_policy" / "config.json").exists()
    assert len(finished.read_metrics()) == 22


def test_a_finished_run_goes_on_and_keeps_its_policy(finished, cfg, caplog):
    cfg.steps = 40
    begin(cfg, finished)
    assert finished.policy.exists()
    assert json.loads((finished.path / "abandoned_summary.json").read_text()) == {"steps": 30}
    assert not caplog.text


@pytest.mark.parametrize(("steps", "on_record"), [(30, [0]), (40, [0, 30])])
def test_a_run_that_was_killed_after_its_last_evaluation_records_that_once(finished, cfg, steps, on_record):
    finished.append_metrics({"step": 30, "kind": "eval"})
    finished.summary.unlink()
    cfg.steps = steps
    begin(cfg, finished)
    rows = finished.read_metrics()
    assert [row["step"] for row in rows if row["kind"] == "eval"] == on_record
    assert sum(row["kind"] == "train" for row in rows) == 21


def test_a_run_to_replay_is_found_in_the_home_folder(folder, cfg, monkeypatch):
    monkeypatch.setenv("HOME", str(folder.path.parent))
    cfg.rollout.replay = "~/mine"
    with pytest.raises(ConfigError, match="this run's own folder"):
        find_start(cfg, folder, INPUTS, MODELS)


def test_latest_is_the_newest_run_until_this_one_begins(folder, cfg):
    root = folder.path.parent
    (root / "before").mkdir()
    (root / "latest").unlink()
    (root / "latest").symlink_to("before")
    cfg.model.path, cfg.model.base_path = f"{root}/latest/policy", f"{root}/latest/policy/"
    cfg.rollout.replay, cfg.run.resume = f"{root}/latest", f"{root}/latest/checkpoints/step_000020"
    settled = settle_latest(cfg, folder)
    folder.create(cfg)
    assert (root / "latest").resolve() == folder.path.resolve()
    assert settled.model.path == settled.model.base_path == f"{root}/before/policy"
    assert settled.rollout.replay == f"{root}/before"
    assert settled.run.resume == f"{root}/before/checkpoints/step_000020"
    assert cfg.model.path == f"{root}/latest/policy"


def test_a_run_that_goes_on_means_what_was_the_newest_when_it_began(folder, cfg):
    root = folder.path.parent
    latest = root / "latest"
    cfg.run.resume = f"{latest}/checkpoints/step_000020"
    assert settle_latest(cfg, folder).run.resume == f"{folder.path}/checkpoints/step_000020"
    written = replace(cfg, model=replace(cfg.model, path=f"{root}/before/policy"))
    (folder.path / CONFIG_FILE).write_text(as_yaml(written))
    cfg.model.path = f"{latest}/policy"
    assert settle_latest(cfg, folder).model.path == f"{root}/before/policy"
    latest.unlink()
    latest.symlink_to("a third run")
    assert settle_latest(cfg, folder).model.path == f"{root}/before/policy"
    cfg.model.path = f"{latest}/checkpoints/step_000020"  # other than the record's, whichever run that is of
    assert settle_latest(cfg, folder).model.path == f"{root}/a third run/checkpoints/step_000020"
    cfg.model.path = f"{latest}/another policy"  # as many parts as the record's
    assert settle_latest(cfg, folder).model.path == f"{root}/a third run/another policy"
    latest.unlink()
    latest.symlink_to("before")
    assert settle_latest(cfg, folder).model.path == f"{root}/before/another policy"


@pytest.mark.parametrize("record", ["", "model: 3", "rollout:\n  replay: null"])
def test_where_the_record_does_not_say_what_was_meant_the_newest_run_is_this_one(folder, cfg, record):
    (folder.path / CONFIG_FILE).write_text(record)
    cfg.rollout.replay = str(folder.path.parent / "latest")
    with pytest.raises(
        ConfigError, match=r"^rollout\.replay=.*this one by now; give the run that is meant by its name$"
    ):
        settle_latest(cfg, folder)


def test_what_only_looks_like_the_link_stays_as_it_is_written(folder, cfg, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "home" / "first").mkdir(parents=True)
    (tmp_path / "home" / "latest").symlink_to("first")
    (tmp_path / "other" / "latest" / "policy").mkdir(parents=True)
    for path, expected in (
        ("~/home/latest/policy", f"{tmp_path}/home/first/policy"),
        (f"{tmp_path}/other/latest/policy", f"{tmp_path}/other/latest/policy"),  # a folder of that name
        ("latest/model", "latest/model"),  # a name on the hub
        ("some//folder/", "some//folder/"),
        ("builtin", "builtin"),
    ):
        cfg.model.path = path
        assert settle_latest(cfg, folder).model.path == expected
    assert settle_latest(cfg, folder).run == cfg.run
    assert settle_latest(cfg, folder).model.base_path is None
