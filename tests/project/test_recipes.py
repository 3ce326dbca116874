"""Every file of the recipe tree composes, validates, holds only keys that exist and repeats no default."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from rlvr.advantage.group import ESTIMATORS
from rlvr.cli.overrides.recipe_tree import option_groups, recipes_folder
from rlvr.config import Config, known_keys
from rlvr.runtime.disk.settings import as_plain
from rlvr.runtime.planning.shape import ModelShape, model_shape
from rlvr.runtime.planning.text import report
from rlvr.validate import validate
from tests.helpers.composing import compose

ROOT = recipes_folder()
GROUPS = sorted(option_groups(ROOT))
RECIPES = sorted(p.stem for p in (ROOT / "recipe").glob("*.yaml"))
# Recipes have a test of their own, sweeps too (test_sweep.py): they hold Hydra's keys besides ours.
GROUP_FILES = sorted(p for g in GROUPS if g not in ("recipe", "sweep") for p in (ROOT / g).glob("*.yaml"))
# Dictionaries and lists without a schema of their own: what stands below is not a key of ours.
OPEN = (
    "advantage.options",
    "loss.options",
    "rollout.engine_args",
    "data.eval",
    "tracking.tags",
    "learner.betas",
)


# The one of the first command, one on many nodes and each way to train of its own; the others vary a key or two.
QUICK = {"dapo_divweight", "dapo_divweight_7b_2nodes", "dapo_lora", "distill", "grpo", "sft"}


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in RECIPES],
)
def recipe(request: pytest.FixtureRequest) -> Config:
    """Composed once for all tests of a recipe, which are run one after the other."""
    made = compose(f"recipe={request.param}")
    assert made.recipe == request.param
    return made


def leaves(node: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted key -> value; dictionaries without a schema are one leaf."""
    if not isinstance(node, dict) or prefix.rstrip(".") in OPEN:
        return {prefix.rstrip("."): node}
    found: dict[str, Any] = {}
    for key, value in node.items():
        found |= leaves(value, f"{prefix}{key}.")
    return found


@functools.cache
def schema_defaults() -> dict[str, Any]:
    """Every key with its value in rlvr/config.py."""
    return leaves(OmegaConf.to_container(OmegaConf.structured(Config(recipe="???"))))


@functools.cache
def written_keys(path: Path) -> dict[str, Any]:
    """The leaves that a file of the tree sets, under their full names."""
    text = path.read_text()
    content = OmegaConf.to_container(OmegaConf.load(path)) or {}
    assert isinstance(content, dict)
    content.pop("defaults", None)
    prefix = "" if "@package _global_" in text.partition("\n")[0] else f"{path.parent.name}."
    return leaves(content, prefix) if content else {}


def test_the_tree_has_recipes():
    assert "dapo_divweight" in RECIPES
    assert {"model", "data", "rollout", "learner", "advantage", "tracking", "cluster"} <= set(GROUPS)


def test_every_recipe_composes_and_validates(recipe):
    open_keys = [key for key, value in leaves(as_plain(recipe)).items() if value == "???"]
    assert not open_keys, f"recipe={recipe.recipe} cannot be started as it is, it leaves open {open_keys}"
    validate(recipe)


@pytest.mark.slow
@pytest.mark.parametrize("path", GROUP_FILES, ids=lambda p: f"{p.parent.name}={p.stem}")
def test_every_group_file_composes(path):
    compose(f"{path.parent.name}={path.stem}")


@pytest.mark.slow
@pytest.mark.parametrize("name", [p.stem for p in GROUP_FILES if p.parent.name == "advantage"])
def test_every_advantage_validates_with_every_estimator(name):
    cfg = compose(f"advantage={name}")
    for estimator in ESTIMATORS.keys() - {"none"}:  # which is refused where no teacher speaks
        cfg.advantage.estimator = estimator
        validate(cfg)


EVERY_FILE = sorted(p for g in GROUPS for p in (ROOT / g).glob("*.yaml"))


@pytest.mark.parametrize("path", EVERY_FILE, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_files_hold_only_keys_that_exist(path):
    unknown = {key for key in written_keys(path) if key not in ("", *known_keys()) and key[:6] != "hydra."}
    assert not unknown


@pytest.mark.parametrize("path", EVERY_FILE, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_files_open_with_a_comment(path):
    lines = [line for line in path.read_text().splitlines() if "@package" not in line]
    assert lines[0].startswith("# ")


@pytest.mark.parametrize("path", EVERY_FILE, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_a_default_is_never_repeated(path):
    """Compared with the schema, and for a recipe with what its own `defaults` list leaves."""
    defaults = schema_defaults()
    repeated = {k: v for k, v in written_keys(path).items() if k in defaults and defaults[k] == v}
    assert not repeated, f"{path.relative_to(ROOT.parent)} repeats defaults of rlvr/config.py: {repeated}"


# Published shapes of the models whose configurations are on the hub.
SHAPES = {
    "Qwen/Qwen2.5-Math-1.5B": ModelShape(1_543_714_304, 151_936, 1536, 28, 2 * 28 * 2 * 128, 8960),
    "Qwen/Qwen2.5-Math-7B": ModelShape(7_615_616_512, 152_064, 3584, 28, 2 * 28 * 4 * 128, 18944),
    "Qwen/Qwen2.5-32B": ModelShape(32_763_876_352, 152_064, 5120, 64, 2 * 64 * 8 * 128, 27648),
}
LOAD_BYTES = 100e6  # a second, from a busy shared file system
STARTUP_SECONDS = 240  # imports, vLLM's compilation and CUDA graphs


def test_recipes_fit_and_their_deadlines_hold_where_every_response_has_the_full_length(recipe):
    if recipe.model.path not in SHAPES:
        assert recipe.model.path == "builtin", "a model whose published shape belongs into SHAPES"
        return
    shape = SHAPES[recipe.model.path]
    said = report(recipe, shape)
    assert "DOES NOT FIT" not in said, said
    assert "LONGER THAN ITS DEADLINE" not in said, said
    load = STARTUP_SECONDS + 2 * shape.parameters / LOAD_BYTES
    assert load < recipe.rollout.start_deadline_seconds
    assert load < recipe.learner.start_deadline_seconds


# The lowest ZeRO stage with which an update fits.
STAGES = {"Qwen/Qwen2.5-Math-1.5B": 1, "Qwen/Qwen2.5-Math-7B": 2, "Qwen/Qwen2.5-32B": 3}


def test_parameters_are_sharded_only_where_whole_ones_do_not_fit(recipe):
    if recipe.model.path != "builtin":
        assert recipe.learner.zero_stage == STAGES[recipe.model.path]


def test_there_is_a_plan_for_every_recipe(recipe):
    said = report(recipe, SHAPES.get(recipe.model.path) or model_shape(recipe))
    assert "learner rank" in said
    assert "a checkpoint takes about" in said
    assert ("seconds a step on H100" in said) is (recipe.model.path in SHAPES)
    assert "what would help most" in said or "no single change" in said
