"""A run goes on only with the training data that it has seen until then, and the weights that it began with."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from rlvr.cli.exits import exit_code
from rlvr.config import Config, SourceConfig
from rlvr.data.fingerprint import DataSeen, data_seen
from rlvr.data.models.identity import identities
from rlvr.data.models.tokenizer import model_folder
from rlvr.errors import CheckpointError, ConfigError, RlvrError
from rlvr.runtime.beginning import find_start
from rlvr.runtime.checkpoints.checkpoint import TrainingState, save_checkpoint
from rlvr.runtime.checkpoints.resume import (
    FoundInputs,
    check_data,
    check_weights,
    differences,
    moved,
    of_today,
    refuse_changes,
)
from rlvr.runtime.disk.folder import RunFolder
from rlvr.runtime.disk.settings import as_plain
from rlvr.runtime.inputs import read_inputs
from rlvr.runtime.session import open_session

ROWS = [{"question": f"{i}+1=?", "answer": str(i + 1), "id": f"r{i}"} for i in range(6)]
CHECKPOINT = Path("runs/mine/checkpoints/step_000020")


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def cfg(tmp_path: Path) -> Config:
    cfg = Config(recipe="test")
    for name in ("train", "test"):
        write(tmp_path / f"{name}.jsonl", ROWS if name == "train" else ROWS[:2])
    cfg.data.train = SourceConfig(name="mine", path=str(tmp_path / "train.jsonl"))
    cfg.data.eval = [SourceConfig(name="held", path=str(tmp_path / "test.jsonl"))]
    return cfg


def seen(cfg: Config) -> DataSeen:
    return read_inputs(cfg).seen


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([*ROWS, {"question": "9+1=?", "answer": "10", "id": "r9"}], "it had 6 problems, has 7"),
        (ROWS[:5], "it had 6 problems, has 5"),
        ([{**ROWS[0], "answer": "7"}, *ROWS[1:]], "changed: its gold answers$"),
        ([{**ROWS[0], "question": "0+2=?"}, *ROWS[1:]], "changed: its prompts"),
        ([{**ROWS[0], "id": "other"}, *ROWS[1:]], "changed: the ids or the order of its problems$"),
        ([*ROWS[:5], {**ROWS[5], "tests": ["1"]}], "changed: other columns of its rows, which verifiers may"),
        (
            [*ROWS[1:], ROWS[0]],
            "changed: the ids or the order of its problems, its prompts .*its gold answers",
        ),
    ],
)
def test_changed_training_data_is_refused_by_name(cfg, rows, words):
    before = seen(cfg)
    assert seen(cfg) == before
    assert check_data(CHECKPOINT, before, seen(cfg), cfg) == []
    write(Path(cfg.data.train.path), rows)
    with pytest.raises(ConfigError) as error:
        check_data(CHECKPOINT, before, seen(cfg), cfg)
    said, _, remedy = str(error.value).partition(". Put the data back")
    assert f"resuming from {CHECKPOINT}" in said
    assert f"data.train mine ({cfg.data.train.path})" in said
    assert re.search(words, said)
    assert "model.path=<run>/policy" in remedy


def test_the_source_of_a_mixture_that_changed_is_named(cfg):
    cfg.data.train = SourceConfig(sources=[cfg.data.train, SourceConfig(name="arithmetic")])
    before = seen(cfg)
    assert data_seen(asdict(before)) == before
    assert check_data(CHECKPOINT, before, seen(cfg), cfg) == []
    write(Path(cfg.data.training[0].path), ROWS[:5])
    with pytest.raises(ConfigError, match=r"data\.train mine \(.*\): it had 6 .*, has 5\. Put") as error:
        check_data(CHECKPOINT, before, seen(cfg), cfg)
    assert "arithmetic" not in str(error.value)


def test_an_older_checkpoint_knows_a_mixture_as_a_whole(cfg):
    cfg.data.train = SourceConfig(sources=[cfg.data.train, SourceConfig(name="arithmetic")])
    old = asdict(seen(cfg))
    del old["sources"]
    write(Path(cfg.data.training[0].path), [{**ROWS[0], "answer": "7"}, *ROWS[1:]])
    with pytest.raises(ConfigError, match=r"data\.train mine \(.*\), arithmetic: changed: its gold answers"):
        check_data(CHECKPOINT, data_seen(old), seen(cfg), cfg)


def test_columns_that_a_verifier_reads_are_part_of_the_data(cfg):
    write(Path(cfg.data.train.path), [{**row, "tests": {"b": [1], "a": None}} for row in ROWS])
    before = seen(cfg)
    write(Path(cfg.data.train.path), [{**row, "tests": {"a": None, "b": [1]}} for row in ROWS])
    assert check_data(CHECKPOINT, before, seen(cfg), cfg) == []
    write(Path(cfg.data.train.path), [{**row, "tests": {"b": [2], "a": None}} for row in ROWS])
    with pytest.raises(ConfigError, match=r"data\.train mine \(.*\): changed: other columns"):
        check_data(CHECKPOINT, before, seen(cfg), cfg)


def test_a_checkpoint_that_knows_no_columns_says_nothing_of_them(cfg):
    before = seen(cfg)
    old = asdict(before)
    for one in (old["training"], *old["eval_sets"].values()):
        del one["columns"]
    write(Path(cfg.data.train.path), [{**ROWS[0], "tests": "1"}, *ROWS[1:]])
    assert check_data(CHECKPOINT, data_seen(old), seen(cfg), cfg) == []


MODEL = {"model.path": {"model.safetensors": "100-abc"}}


def test_data_and_a_model_that_have_only_moved_are_no_change(cfg, tmp_path):
    saved, before = as_plain(cfg), FoundInputs(MODEL, seen(cfg))
    for source in (cfg.data.train, cfg.data.eval[0]):
        (tmp_path / "moved").mkdir(exist_ok=True)
        source.path = str(Path(source.path).rename(tmp_path / "moved" / Path(source.path).name))
    here = FoundInputs(MODEL, seen(cfg))
    cfg.model.path = "elsewhere"
    refuse_changes(CHECKPOINT, saved, cfg, moved(cfg, before, here))
    for other, key in (
        (FoundInputs({"model.path": {"model.safetensors": "100-abd"}}, here.data), "model.path"),
        (FoundInputs({}, here.data), "model.path"),
        (FoundInputs(MODEL, None), "data.eval.0.path"),
        (FoundInputs(MODEL, replace(here.data, eval_sets={})), "data.eval.0.path"),
        (FoundInputs(MODEL, replace(here.data, training=here.data.eval_sets["held"])), "data.train.path"),
    ):
        with pytest.raises(ConfigError, match=rf"{re.escape(key)} was .*, is .*"):
            refuse_changes(CHECKPOINT, saved, cfg, moved(cfg, before, other))
    for older, key in (
        (FoundInputs({}, here.data), "model.path"),
        (FoundInputs(MODEL, None), "data.eval.0.path"),
    ):
        with pytest.raises(ConfigError, match=rf"{re.escape(key)} was .*, is "):
            refuse_changes(CHECKPOINT, saved, cfg, moved(cfg, older, here))


OTHER = {"dict": {"a": 1}, "int": 3, "float": 0.25, "bool": False, "str": "other"}  # by what a key takes


def others(record: Any) -> list[tuple[str, Any]]:
    """Every key of a section, but those that are sections themselves, with a value that it does not have."""
    keys = [key for key in fields(record) if "SourceConfig" not in str(key.type)]
    return [(key.name, next(OTHER[kind] for kind in OTHER if kind in str(key.type))) for key in keys]


@pytest.mark.slow
@pytest.mark.parametrize("place", ["data", "data.train", "data.train.sources.1", "data.eval.0"])
def test_every_key_that_says_what_a_row_is_stays_as_it_was(cfg, place):
    cfg.data.train = SourceConfig(name="both", sources=[cfg.data.train, SourceConfig(name="arithmetic")])
    saved = as_plain(cfg)
    refuse_changes(CHECKPOINT, saved, cfg)
    section: Any = cfg
    for step in place.split("."):
        section = section[int(step)] if step.isdigit() else getattr(section, step)
    tried = [(key, value) for key, value in others(section) if (place, key) != ("data.eval.0", "every")]
    assert len(tried) >= 13
    for key, value in tried:
        changed = OmegaConf.structured(cfg)  # which makes the records of what stands below a key
        OmegaConf.update(changed, f"{place}.{key}", value)
        with pytest.raises(ConfigError, match=rf"configuration: {re.escape(f'{place}.{key}')}[ .]"):
            refuse_changes(CHECKPOINT, saved, OmegaConf.to_object(changed))


def test_settings_written_before_sources_had_a_weight_are_read(cfg):
    settings = as_plain(cfg)
    for source in (settings["data"]["train"], *settings["data"]["eval"]):
        del source["weight"], source["sources"]
    assert differences(of_today(settings), as_plain(cfg)) == []


def test_settings_with_an_old_name_of_an_estimator_are_read(cfg):
    cfg.advantage.estimator = "reinforce_pp_samples"
    settings = as_plain(cfg)
    settings["advantage"]["estimator"] = "reinforce_pp"
    assert differences(of_today(settings), as_plain(cfg)) == []


def test_a_changed_held_out_set_is_worth_a_warning(cfg):
    before = seen(cfg)
    write(Path(cfg.data.eval[0].path), ROWS[:3])
    [note] = check_data(CHECKPOINT, before, seen(cfg), cfg)
    assert note.startswith("WARNING data.eval held: it had 2 problems, has 3 since")
    cfg.data.eval.append(SourceConfig(name="arithmetic_heldout", limit=4))
    assert check_data(CHECKPOINT, seen(cfg), seen(cfg), cfg) == []


def test_a_checkpoint_that_does_not_say_goes_on_with_a_note(cfg):
    [note] = check_data(CHECKPOINT, None, seen(cfg), cfg)
    assert "whether that has changed is not checked" in note


def test_the_built_in_task_is_known_by_its_seed_and_first_problems(cfg):
    cfg = Config(recipe="test")
    first = seen(cfg)
    assert first.training.size is None
    assert seen(cfg) == first
    assert seen(replace(cfg, seed=2)).training != first.training


# Through the start of a run: nothing is started before all of this is known


def save(folder: RunFolder, cfg: Config, step: int) -> Path:
    def learner(target: str) -> None:
        (Path(target) / "deepspeed").mkdir()
        (Path(target) / "deepspeed" / "mp_rank_00_model_states.pt").write_bytes(b"weights" * 1000)

    state = TrainingState(step, 0, 0, 0.0, 0.0, {}, seen(cfg), models=identities(cfg.model))
    return save_checkpoint(folder, state, cfg, learner)


@pytest.fixture
def resumed(cfg: Config, tmp_path: Path) -> tuple[Config, RunFolder]:
    """A run with checkpoints of steps 1 and 2, that is to go on."""
    cfg.run.root, cfg.run.name, cfg.run.resume = str(tmp_path / "runs"), "mine", "auto"
    folder = RunFolder(tmp_path / "runs", "mine")
    for step in (1, 2):
        save(folder, cfg, step)
    return cfg, folder


def refusal(cfg: Config) -> RlvrError:
    with pytest.raises(RlvrError) as error, open_session(cfg):
        pass
    assert exit_code(error.value) == 1  # a job that is queued again would meet it for ever
    return error.value


@pytest.mark.slow
def test_a_run_does_not_go_on_with_a_row_more_and_another_gold_answer(resumed):
    cfg, folder = resumed
    before = sorted(str(p) for p in folder.path.rglob("*"))
    write(Path(cfg.data.train.path), [*ROWS[:-1], {**ROWS[-1], "answer": "0"}, {**ROWS[0], "id": "new"}])
    assert "data.train mine" in str(refusal(cfg))
    assert sorted(str(p) for p in folder.path.rglob("*")) == before  # nothing has been touched


@pytest.mark.slow
def test_a_run_does_not_go_on_from_a_cut_checkpoint_nor_in_silence_from_the_one_before(resumed):
    cfg, folder = resumed
    weights = folder.checkpoints / "step_000002" / "deepspeed" / "mp_rank_00_model_states.pt"
    with weights.open("r+b") as file:
        file.truncate(1000)
    error = refusal(cfg)
    assert isinstance(error, CheckpointError)
    assert "step_000002: cannot be read (deepspeed/mp_rank_00_model_states.pt has 1000 bytes" in str(error)
    assert f"run.resume={folder.checkpoints / 'step_000001'}" in str(error)
    cfg.run.resume = str(folder.checkpoints / "step_000001")
    checkpoint, start, notes = find_start(cfg, folder, read_inputs(cfg), identities(cfg.model))
    assert (str(checkpoint), start.step, notes) == (cfg.run.resume, 1, [])


@pytest.mark.slow
@pytest.mark.parametrize("key", ["path", "base_path"])
def test_a_run_does_not_go_on_where_other_weights_lie_in_the_place_of_its_own(cfg, tmp_path, key):
    weights = shutil.copytree(model_folder("builtin"), tmp_path / "model") / "model.safetensors"
    setattr(cfg.model, key, str(weights.parent))
    cfg.run.root, cfg.run.name, cfg.run.resume = str(tmp_path / "runs"), "mine", "auto"
    folder = RunFolder(tmp_path / "runs", "mine")
    checkpoint = save(folder, cfg, 1)
    assert find_start(cfg, folder, read_inputs(cfg), identities(cfg.model))[2] == []
    before = sorted(str(p) for p in folder.path.rglob("*"))
    intact = weights.read_bytes()
    weights.write_bytes(intact[:-1] + bytes([intact[-1] ^ 1]))
    said = str(refusal(cfg))
    assert f"resuming from {checkpoint} with other weights" in said
    assert f"those at model.{key}={weights.parent} have changed" in said
    assert f"rlvr export {checkpoint} output=" in said
    assert sorted(str(p) for p in folder.path.rglob("*")) == before  # nothing has been touched
    (tmp_path / "elsewhere").mkdir()  # the way out that the message names
    (tmp_path / "elsewhere" / "model.safetensors").write_bytes(intact)
    shutil.copytree(
        weights.parent, tmp_path / "elsewhere", dirs_exist_ok=True, ignore=lambda *_: [weights.name]
    )
    setattr(cfg.model, key, str(tmp_path / "elsewhere"))
    assert find_start(cfg, folder, read_inputs(cfg), identities(cfg.model))[2] == []


def test_a_checkpoint_that_does_not_say_which_weights_goes_on_with_a_note(cfg):
    [note] = check_weights(CHECKPOINT, {}, MODEL, cfg)
    assert "whether they have changed is not checked" in note
    assert check_weights(CHECKPOINT, MODEL, MODEL, cfg) == []
