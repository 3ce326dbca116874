"""What a control shares with the run that it is compared with: everything but the algorithm.

A control has the keys of the algorithm from its own recipe, and all others from the run. Reward shaping belongs to
the algorithm as far as the run has it from its recipe (DAPO's), and is shared where the run set it itself.

Both learn from as many answers a step. A supervised control has one given answer to a prompt in place of samples, so
it gets a prompt for every answer of the run, and nothing that says how to sample.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from omegaconf import OmegaConf

from rlvr.analysis.run import LoadedRun
from rlvr.cli.overrides.command_line import TRAINING, parse_overrides
from rlvr.cli.overrides.compose import compose, register_schema
from rlvr.cli.overrides.recipe_tree import recipes_folder
from rlvr.config import Config, leaf_keys
from rlvr.data.models.tokenizer import BUILTIN_FOLDERS
from rlvr.data.tasks.generated import GENERATED
from rlvr.errors import ConfigError
from rlvr.runtime.disk.folder import CHANGES, read_changes
from rlvr.runtime.keys import CORRECTION, FREE_OF_COMPARED, OF_SAMPLING, OF_THE_RECIPE, SHAPING

PROMPTS, SAMPLES = "data.prompts_per_step", "rollout.samples_per_prompt"


def shared_settings(run: LoadedRun, recipe: str) -> dict[str, Any]:
    """{dotted key: value} of the run that a control of this recipe needs besides its recipe.

    Raises:
        ConfigError: the run is not of a built-in model and task, or something cannot be carried over; by name.
    """
    model, data = run.config.model.path, run.config.data
    if model not in BUILTIN_FOLDERS or not all(s.name in GENERATED and s.path is None for s in data.training):
        raise ConfigError(
            f"run={run.folder}: its model is {model} on {data.train.path or data.label}; the controls are made for the "
            "built-in models and tasks. Train your own controls and compare them with rlvr.analyze and rlvr.report."
        )
    if changes := read_changes(run.folder / CHANGES):
        raise ConfigError(
            f"run={run.folder}: settings were changed on its way ({'; '.join(map(str, changes))}), which a control "
            "would not follow. Train your own controls and compare them with rlvr.analyze and rlvr.report."
        )
    control, from_recipe = _of_recipe(recipe), _of_recipe(run.config.recipe)
    shared = {
        key: value
        for key, value in _leaves(run.config).items()
        if (key in CORRECTION or key not in OF_THE_RECIPE)
        and not (key in SHAPING and value == from_recipe.get(key))
    }
    if control["rollout.answers"] is not None:
        shared = {key: value for key, value in shared.items() if key not in OF_SAMPLING}
    shared |= _answers_per_step(run, control)
    return {key: value for key, value in shared.items() if value != control[key]}


def require_same(control: LoadedRun, shared: Mapping[str, Any]) -> None:
    """Refuse a finished control that was not trained with its recipe and what it shares with the run.

    Raises:
        ConfigError: names what differs.
    """
    expected = {**_of_recipe(control.config.recipe), **shared}
    changed = [
        f"{key} was {value!r}, should be {expected[key]!r}"
        for key, value in _leaves(control.config).items()
        if key not in FREE_OF_COMPARED and value != expected.get(key, value)
    ]
    if changed:
        raise ConfigError(
            f"{control.folder}: this control was not trained as the run was: {'; '.join(changed)}. Remove the folder, "
            "and it is trained again."
        )


def _answers_per_step(run: LoadedRun, control: Mapping[str, Any]) -> dict[str, int]:
    """Prompts and samples of a control that learns from as many answers a step as the run."""
    prompts, samples = run.config.data.prompts_per_step, run.config.rollout.samples_per_prompt
    if (run.config.rollout.answers is None) == (control["rollout.answers"] is None):
        return {PROMPTS: prompts, SAMPLES: samples}
    fewer, left = divmod(prompts * samples, control[SAMPLES])
    if left:
        raise ConfigError(
            f"run={run.folder}: {PROMPTS}={prompts} with {SAMPLES}={samples} are {prompts * samples} given answers a "
            f"step, which the control {control['recipe']} cannot have with {control[SAMPLES]} samples a prompt. Train "
            "your own controls and compare them with rlvr.analyze and rlvr.report."
        )
    return {PROMPTS: fewer, SAMPLES: control[SAMPLES]}


@functools.cache
def _of_recipe(recipe: str) -> dict[str, Any]:
    """The settings of a recipe with nothing else said; empty for one that is not ours."""
    if not (recipes_folder() / "recipe" / f"{recipe}.yaml").is_file():
        return {}
    register_schema()
    composed = OmegaConf.to_object(compose(parse_overrides([f"recipe={recipe}"]), TRAINING))
    assert isinstance(composed, Config)
    return _leaves(composed)


def _leaves(cfg: Config) -> dict[str, Any]:
    """The values of all keys that are no sections; lists and dictionaries are values."""
    tree = OmegaConf.structured(cfg)
    values = {key: OmegaConf.select(tree, key) for key in leaf_keys()}
    return {key: OmegaConf.to_container(v) if OmegaConf.is_config(v) else v for key, v in values.items()}
