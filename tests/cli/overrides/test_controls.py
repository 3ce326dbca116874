"""The controls of `rlvr.findings` are trained as the run was, in all but what their recipe is about."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from rlvr.analysis.run import LoadedRun, read_run
from rlvr.cli.overrides.compose import check_overrides
from rlvr.cli.overrides.controls import require_same, shared_settings
from rlvr.cli.overrides.shorthand import override
from rlvr.config import Config
from rlvr.errors import ConfigError
from rlvr.runtime.disk.folder import RunFolder
from rlvr.runtime.disk.summary import ChangedSetting
from rlvr.validate import validate
from tests.helpers.composing import compose

pytestmark = pytest.mark.slow


def config(*overrides: str) -> Config:
    """The configuration of a command line."""
    return compose(*overrides)


def run_of(tmp_path: Path, *overrides: str) -> LoadedRun:
    """A run as it lies on disk, its cores settled at the start."""
    folder = tmp_path / "run"
    folder.mkdir(exist_ok=True)
    cfg = config("run.name=mine", "run.root=elsewhere", "cluster.cpus=2", *overrides)
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.structured(cfg)))
    return read_run(folder)


def control_of(run: LoadedRun, recipe: str) -> Config:
    """The configuration that the control is trained with, through the command line."""
    arguments = [f"recipe={recipe}", *(override(k, v) for k, v in shared_settings(run, recipe).items())]
    check_overrides(arguments)
    cfg = config(*arguments)
    validate(cfg)
    return cfg


@pytest.mark.parametrize("recipe", ["grpo_kl", "sft"])
@pytest.mark.parametrize("trained", ["dapo_divweight", "dapo", "gspo", "sft"])
def test_the_controls_of_a_run_of_a_recipe_alone_are_their_recipes(tmp_path, trained, recipe):
    assert shared_settings(run_of(tmp_path, f"recipe={trained}"), recipe) == {"cluster.cpus": 2}


OWN = (
    "seed=3",
    "steps=7",
    "data.prompts_per_step=6",
    "rollout.samples_per_prompt=4",
    "data.eval=[{name:own,path:'a b/it\\'s.jsonl',answer:gold},{name:arithmetic_heldout,limit:8}]",
    "data.template=chat",
    "data.max_prompt_tokens=40",
    "rollout.max_response_tokens=50",
    "rollout.temperature=0.7",
    "+rollout.engine_args={swap_space:0}",
    "reward.verifier=own_verifier:parity",
    "reward.truncated_can_be_correct=true",
    "reward.incorrect=-0.5",
    "learner.lr=3e-5",
    "learner.betas=[0.9,0.99]",
    "learner.schedule=cosine",
    "learner=cpu_2ranks",
    "eval.samples_per_prompt=2",
    "eval.temperature=0.6",
    "model.dtype=bfloat16",
    "loss.clip_high=0.4",
    "rollout.staleness=1",
    "loss.rollout_correction=2.0",
)


def test_all_that_the_run_set_is_shared_but_the_algorithm(tmp_path):
    run = run_of(tmp_path, "recipe=dapo_divweight", "advantage.options.alpha=3.0", *OWN)
    control, recipe = control_of(run, "grpo_kl"), config("recipe=grpo_kl")
    for section in ("model", "data", "learner", "eval", "cluster", "sync"):
        assert getattr(control, section) == getattr(run.config, section), section
    assert (control.seed, control.steps) == (3, 7)
    shaping = {"overlong": "off"}  # DAPO's, from the run's recipe; its own -0.5 is shared
    assert vars(control.reward) == vars(run.config.reward) | shaping
    assert vars(control.rollout) == vars(run.config.rollout) | {"dynamic_sampling": False}
    assert control.advantage == recipe.advantage
    assert vars(control.loss) == vars(recipe.loss) | {"rollout_correction": 2.0}
    assert control.run == recipe.run


def test_a_supervised_control_learns_from_as_many_answers_and_samples_nothing(tmp_path):
    run = run_of(tmp_path, "recipe=dapo_divweight", *OWN)
    control, recipe = control_of(run, "sft"), config("recipe=sft")
    assert control.data.prompts_per_step == 6 * 4
    assert vars(control.data) == vars(run.config.data) | {"prompts_per_step": 24}
    assert control.loss == recipe.loss
    rollout = control.rollout
    assert (rollout.answers, rollout.samples_per_prompt) == (recipe.rollout.answers, 1)
    assert (rollout.temperature, rollout.staleness, rollout.max_response_tokens) == (1.0, 0, 50)


@pytest.mark.parametrize("data", ["instructions_builtin", "mixture_builtin"])
def test_runs_of_the_second_task_have_controls_too(tmp_path, data):
    run = run_of(tmp_path, "recipe=dapo_divweight", "model=builtin_two_tasks", f"data={data}")
    for recipe in ("sft", "grpo_kl"):
        control = control_of(run, recipe)
        assert control.model == run.config.model
        assert (control.data.train, control.data.eval) == (run.config.data.train, run.config.data.eval)


def test_what_cannot_be_carried_over_is_refused_by_name(tmp_path):
    for key in ("model.path=other/model", "data.train.path=arithmetic.jsonl", "data.train.name=gsm8k"):
        with pytest.raises(ConfigError, match=rf"{key.partition('=')[2]}.*built-in models and tasks"):
            shared_settings(run_of(tmp_path, key), "grpo_kl")
    changed = run_of(tmp_path)
    RunFolder(tmp_path, "run").write_changes([ChangedSetting(20, "learner.lr", 1e-4, 5e-5)])
    with pytest.raises(ConfigError, match=r"learner\.lr 0\.0001 -> 5e-05 after step 20"):
        shared_settings(changed, "grpo_kl")
    RunFolder(tmp_path, "run").write_changes([])
    supervised = run_of(tmp_path, "recipe=sft", "data.prompts_per_step=40")
    with pytest.raises(ConfigError, match=r"data\.prompts_per_step=40.*40 given answers.*grpo_kl"):
        shared_settings(supervised, "grpo_kl")
    assert control_of(supervised, "sft").data.prompts_per_step == 40


def test_a_recipe_that_is_not_ours_shares_its_reward(tmp_path):
    run = run_of(tmp_path, "recipe=dapo")
    run.config.recipe = "mine"
    assert shared_settings(run, "grpo_kl") == {
        "reward.incorrect": -1.0,
        "reward.overlong": "soft",
        "cluster.cpus": 2,
    }


def test_a_finished_control_of_other_settings_is_not_taken_for_this_one(tmp_path):
    run = run_of(tmp_path, "recipe=dapo", "data.prompts_per_step=8")
    control = LoadedRun(tmp_path / "grpo_kl", control_of(run, "grpo_kl"))
    control.config.cluster.threads_per_actor, control.config.run.name = 1, "grpo_kl"
    require_same(control, shared_settings(run, "grpo_kl"))
    old = LoadedRun(tmp_path / "grpo_kl", config("recipe=grpo_kl"))
    with pytest.raises(ConfigError, match=r"grpo_kl: .*data\.prompts_per_step was 16, should be 8\. Remove"):
        require_same(old, shared_settings(run, "grpo_kl"))
