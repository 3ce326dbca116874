"""What is said about bad overrides, by the configuration that they would make."""

from __future__ import annotations

import pytest

from rlvr.cli.overrides.compose import check_overrides, register_schema
from rlvr.config import known_keys
from rlvr.errors import ConfigError


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
        ("actor_rollout_ref.of.another.framework.altogether.kl_in", "loss.kl_in?"),  # by its last part
    ],
)
def test_an_unknown_key_suggests_the_near_one(key, near):
    said = refusal(f"{key}=1")
    assert said.startswith(f"{key}: there is no such key; did you mean ")
    assert near in said


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
