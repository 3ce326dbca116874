"""Command lines before Hydra reads them: odd values, placeholders of recipes, other frameworks' keys."""

from __future__ import annotations

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from rlvr.cli.overrides.command_line import check_text
from rlvr.cli.overrides.known import explain_key
from rlvr.cli.overrides.multirun import quoted as job_quoted
from rlvr.cli.overrides.peer_keys import PEER_KEYS, UNITS, peer_hint
from rlvr.cli.overrides.shorthand import check_placeholders, quote_odd_values, quoted
from rlvr.config import known_keys
from rlvr.errors import ConfigError
from tests.helpers.forked import run_module
from tests.helpers.paths import REPOSITORY

ODD = [
    "/tmp/x=y/a.jsonl",
    "/data/my set (v2)/a.jsonl",
    "/data/{a}/b.jsonl",
    "/data/[1]/b.jsonl",
    'say "a"/b.jsonl',
    "it's/b.jsonl",
    "C:\\data\\b.jsonl",
    "/data/a&b;c#d/ü.jsonl",
    "/tmp/my model (v=2), $x/policy",
]


def value_of(argument: str) -> object:
    return OverridesParser.create().parse_override(argument).value()


@pytest.mark.slow
@given(st.text(st.characters(codec="utf-8", exclude_characters="\n\r\x00"), min_size=1, max_size=30))
def test_quoting_gives_the_value_back(value):
    assert value_of(f"key={quoted(value)}") == value
    assert value_of(f"key={job_quoted(value)}") == value


@pytest.mark.parametrize("value", ODD)
def test_odd_values_arrive_as_they_were_typed(value):
    [argument] = quote_odd_values([f"data.train.path={value}"])
    assert value_of(argument) == value


def test_what_hydra_can_read_keeps_its_meaning():
    typed = [
        "seed=1,2,3", "learner.betas=[0.9,0.99]", "data.eval=[{name:a,path:b}]", "run.name='a b'", "-m", "--cfg", "job",
        "+advantage.options.alpha=10", "~tracking", "steps=range(1,5)", "run.root=${oc.env:HOME}",
        "data.train.path=/a/*.jsonl",
        "run.name=a|b",
    ]  # fmt: skip
    assert quote_odd_values(typed) == typed


# ---- placeholders


def placeholders(choices, given=()):
    check_placeholders(choices, given, [REPOSITORY / "recipes"])


def test_what_a_recipe_leaves_open_is_demanded():
    with pytest.raises(
        ConfigError, match=r"model\.path: model=local leaves it to you; set model\.path=<value>"
    ):
        placeholders({"model": "local"})
    with pytest.raises(ConfigError, match=r"data\.train\.path: data=local .*data\.train\.path=train\.jsonl"):
        placeholders({"data": "local"}, ["data.eval=[]"])
    with pytest.raises(ConfigError, match=r"data\.eval"):
        placeholders({"data": "local"}, ["data.train.path=a.jsonl"])


def test_what_is_set_is_not_demanded(tmp_path):
    placeholders({"model": "builtin", "data": "arithmetic"})
    placeholders({"model": "local"}, ["model.path=here"])
    placeholders({"model": "local"}, ["model={path:here}"])
    placeholders({"data": "local"}, ["data.train={name:a,path:b}", "data.eval.0.path=c"])
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe" / "mine.yaml").write_text("# @package _global_\nmodel:\n  path: there\n")
    check_placeholders({"model": "local", "recipe": "mine"}, [], [REPOSITORY / "recipes", tmp_path])


@pytest.mark.slow
def test_the_training_command_demands_it():
    done = run_module("rlvr.train", "model=local", "steps=1")
    assert done.returncode == 1
    assert "ConfigError: model.path: model=local leaves it to you" in done.stderr
    assert "Traceback" not in done.stderr


# ---- other frameworks' keys


def test_every_hint_names_a_key_that_exists():
    assert set(PEER_KEYS.values()) | set(UNITS) <= set(known_keys())


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("rollout.n", "rollout.samples_per_prompt"),
        ("actor_rollout_ref.rollout.n", "rollout.samples_per_prompt"),
        ("num_generations", "rollout.samples_per_prompt"),
        ("algorithm.adv_estimator", "advantage.estimator"),
        ("actor_rollout_ref.actor.kl_loss_coef", "loss.kl_coef"),
        ("sampling_params.stop", "rollout.stop"),
        ("rollout.engine_args.max_model_len", "+rollout.engine_args.max_model_len"),
        ("learning_rate", "learner.lr"),
        ("ppo_mini_batch_size", "updates in a step"),
        ("lerner.lr", "learner.lr"),
        ("actor_rollout_ref.actor.optim.lr", "did you mean learner.lr?"),
        ("actor_rollout_ref.rollout.val_kwargs.n", "did you mean eval.samples_per_prompt?"),
        ("rollout.batch_size", "data.prompts_per_step (prompts,"),
        ("train.batch_size", "learner.updates_per_step"),
        ("algo.kl.estimator", "did you mean loss.kl?"),
        ("max_off_policy_steps", "rollout.staleness (how many steps old"),
        ("actor_rollout_ref.rollout.multi_turn.enable", "a response is one turn"),
        ("top_entropy_quantile", "advantage.options (with advantage=high_entropy"),
        ("actor_rollout_ref.actor.tau_pos", "tau_positive"),
        ("trainer.resume_from_path", "did you mean run.resume?"),
    ],
)
def test_keys_of_other_frameworks_are_explained(key, hint):
    assert hint in explain_key(key)


def test_unknown_names_have_no_hint():
    assert peer_hint("model.colour") == ""


def test_a_key_that_resembles_nothing_says_where_all_keys_are():
    assert "--cfg job" in explain_key("xqzw")


def test_bytes_that_are_no_text_are_refused():
    check_text(["run.name=ü"])
    with pytest.raises(ConfigError, match=r"run\.name=\\udcff: holds bytes that are no text in"):
        check_text(["steps=1", "run.name=\udcff"])
