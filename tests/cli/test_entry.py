"""What the command line says about bad overrides, and how errors reach the user."""

from __future__ import annotations

import os
import sys

import pytest

from rlvr.cli.compose import check_overrides, explain_key, options_first, parse_options, register_schema
from rlvr.cli.entry import hydra_entry, make_hydra_folder
from rlvr.config import Config, known_keys
from rlvr.errors import ConfigError, DataError
from tests.helpers.forked import Done, forked


@pytest.fixture(autouse=True)
def schema() -> None:
    register_schema()


def refusal(*arguments: str) -> str:
    """What the user is told."""
    with pytest.raises(ConfigError) as caught:
        check_overrides(list(arguments))
    return str(caught.value)


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("rollout.temprature", "rollout.temperature"),
        ("learner.learning_rate", "learner."),
        ("lr", "learner.lr"),
        ("data.train.limits", "data.train.limit"),
        ("advantage.option", "advantage.options"),
        ("model.name_or_path.dtyp", "model."),
    ],
)
def test_an_unknown_key_suggests_the_near_one(key, near):
    said = refusal(f"{key}=1")
    assert said.startswith(f"{key}: there is no such key; did you mean ")
    assert near in said


def test_a_key_that_resembles_nothing_says_where_all_keys_are():
    assert "--cfg job" in explain_key("xqzw")


def test_every_leaf_is_known():
    keys = known_keys()
    assert len(keys) == len(set(keys))
    for key in ("steps", "learner.lr", "data.train", "data.train.name", "data.train.split", "run.name"):
        assert key in keys


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["steps=5", "learner.lr=1e-5"],
        ["data.train.name=gsm8k", "data.train.limit=100"],
        ["data.eval=[{name: gsm8k}]"],
        ["advantage=js_high", "advantage.options.alpha=-5"],
        ["+rollout.engine_args.swap_space=0"],
        ["loss.rollout_correction=null"],
        ["--cfg", "job"],
        ["-m", "seed=1,2,3", "recipe=dapo_divweight"],
        ["steps=5", "-m", "seed=1,2,3"],
        ["recipe=grpo", "--multirun", "seed=1,2", "--cfg", "job", "steps=5"],
        ["-m", "advantage=uniform,js_high", "hydra.sweep.dir=/tmp/x"],
        ["run.name='with space'"],
    ],
    ids=" ".join,
)
def test_good_overrides_pass(arguments):
    check_overrides(arguments)


def test_options_may_stand_anywhere():
    typed = [
        "a=b",
        "-m",
        "c=1,2",
        "--config-dir",
        "x=y",
        "-i",
        "d=3",
        "--info",
        "plugins",
        "~e",
        "--cfg",
        "job",
    ]
    ordered = [
        "-m",
        "--config-dir",
        "x=y",
        "-i",
        "all",
        "--info",
        "plugins",
        "--cfg",
        "job",
        "a=b",
        "c=1,2",
        "d=3",
        "~e",
    ]
    assert options_first(typed) == ordered
    parsed = parse_options(["a=b", "-m", "c=1,2"])
    assert (parsed.multirun, parsed.overrides) == (True, ["a=b", "c=1,2"])


def test_an_option_that_does_not_exist_says_how_overrides_are_written():
    assert refusal("--recipe", "grpo").startswith("--recipe: there is no such option; overrides are written")
    assert "steps=VALUE" in refusal("steps=3", "--steps=4")
    check_overrides(
        ["steps=3", "--multi", "seed=1,2", "-cjob"]
    )  # abbreviations and joined values are Hydra's


@pytest.mark.parametrize("argument", ["steps=many", "rollout.samples_per_prompt=2.5", "seed=null", "loss=3"])
def test_a_wrong_type_names_key_and_value(argument):
    key, _, value = argument.partition("=")
    said = refusal(argument)
    assert key in said
    assert value in said


def test_an_unknown_option_of_a_group_lists_the_options():
    said = refusal("recipe=grpo_divwait")
    assert said.startswith("recipe=grpo_divwait: there is no such option; use one of ")
    assert "dapo_divweight" in said
    assert refusal("advantage=js_hihg").startswith("advantage=js_hihg: there is no such option")


@pytest.mark.parametrize("argument", ["nonsense", "a=b=["])
def test_what_is_no_override_says_what_one_looks_like(argument):
    assert "Overrides look like key=value or group=option." in refusal(argument)


@pytest.mark.parametrize("argument", ["advantage.optionsfoo=3", "hydrax=3", "data.evaluate=3"])
def test_a_key_that_only_begins_like_a_free_one_is_unknown(argument):
    assert "there is no such key" in refusal(argument)


def test_a_folder_that_hydra_cannot_make_is_said_in_our_words(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file/below", "/proc/x"):
        with pytest.raises(ConfigError, match=f"hydra.run.dir={folder}: cannot be made .*leave it out"):
            make_hydra_folder(["seed=1", f"hydra.run.dir={folder}"])
    for unused in (["--cfg", "job"], ["-m"], ["--info"]):
        make_hydra_folder(["hydra.run.dir=/proc/x", *unused])
    make_hydra_folder([f"hydra.run.dir={tmp_path / 'a/b'}"])
    assert (tmp_path / "a/b").is_dir()


def run(cfg: Config) -> None:
    if cfg.seed == 13:
        error = DataError("row 7 is bad")
        error.add_note("(inside an actor)")
        raise error
    print("ran with", cfg.recipe, cfg.data.train.name)


def program(*arguments: str, **env: str) -> Done:
    """Run a tiny command in a process of its own."""

    def command() -> None:
        os.environ.update(env)
        sys.argv = ["tiny", *arguments]
        hydra_entry(run)()

    return forked(command)


@pytest.mark.slow
def test_errors_meant_for_the_user_come_without_a_traceback():
    done = program("seed=13")
    assert done.returncode == 1
    assert "DataError: row 7 is bad\n(inside an actor)" in done.stderr
    assert "Traceback" not in done.stderr
    done = program("stepz=3")
    assert done.returncode == 1
    assert "stepz: there is no such key; did you mean steps" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_the_traceback_can_be_asked_for():
    done = program("seed=13", RLVR_TRACEBACK="1")
    assert done.returncode == 1
    assert "row 7 is bad" in done.stderr
    assert "in run" in done.stderr


@pytest.mark.slow
def test_hydras_options_work_behind_the_overrides():
    done = program("steps=3", "--cfg", "job", "seed=5")
    assert done.returncode == 0, done.stderr
    assert {"steps: 3", "seed: 5"} <= set(done.stdout.splitlines())


@pytest.mark.slow
def test_a_good_command_runs_with_typed_values(tmp_path):
    done = program("data.train.name=gsm8k")
    assert (done.returncode, done.stdout.strip()) == (0, "ran with dapo_divweight gsm8k")
