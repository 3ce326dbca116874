"""The commands that the pages show compose, and the jobs that they submit can be written."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import hydra
import pytest

from launch import slurm
from launch.script import render
from rlvr.cli.overrides.compose import register_schema
from rlvr.cli.overrides.recipe_tree import recipes_folder
from rlvr.validate import validate
from tests.helpers.composing import composed
from tests.helpers.pages import DOCS, PAGES, blocks, commands

TRAININGS = commands("python -m rlvr.train", *PAGES)
SUBMISSIONS = commands("python -m launch.slurm", *PAGES)
# Each of its dozens of jobs is composed.
SUBMITTED = [pytest.param(c, marks=pytest.mark.slow) if "+sweep=" in c else c for c in SUBMISSIONS]


@pytest.mark.slow
@pytest.mark.parametrize("command", TRAININGS)
def test_a_training_composes(command: str) -> None:
    cfg = composed(shlex.split(command)[3:])
    if "my_weights" not in command:
        validate(cfg)


@pytest.mark.slow
def test_the_recipe_of_ones_own_composes(tmp_path: Path) -> None:
    [recipe] = blocks(DOCS / "quickstart.md", "yaml")
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe" / "mine.yaml").write_text(recipe)
    register_schema()
    with hydra.initialize_config_dir(str(recipes_folder()), version_base="1.3"):
        added = ["recipe=mine", f"hydra.searchpath=[file://{tmp_path}]"]
        cfg = hydra.compose("train", overrides=added)
    assert (cfg.recipe, cfg.rollout.samples_per_prompt, cfg.rollout.dynamic_sampling) == ("mine", 32, True)


def test_there_are_trainings_to_test() -> None:
    assert len(TRAININGS) >= 15


@pytest.mark.slow
@pytest.mark.parametrize("command", SUBMITTED)
def test_a_submission_can_be_written(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [site] = blocks(DOCS / "slurm.md", "yaml")
    (tmp_path / "site.yaml").write_text(site)
    monkeypatch.chdir(tmp_path)
    request = slurm.parse([*shlex.split(command)[3:], "--dry-run"])
    script = render(request.config, slurm.plan(request))
    assert script.startswith("#!/bin/bash\n")
    assert ("#SBATCH --array=" in script) == ("-m" in command.split()[3:])
    assert ("#SBATCH --account=my-account\n" in script) == ("--site" in command)


def test_the_submissions_are_found() -> None:
    assert len(SUBMISSIONS) >= 5


def test_the_readme_is_one_screen() -> None:
    text = PAGES[0].read_text()
    assert len(text.splitlines()) <= 110
    assert {"make quickstart", "make test"} <= set(commands("make", PAGES[0]))
    assert re.findall(r"!\[[^]]+\]\((docs/images/[a-z]+\.svg)\)", text) == [
        "docs/images/tokens.svg",
        "docs/images/accuracy.svg",
        "docs/images/smollm.svg",
    ]
