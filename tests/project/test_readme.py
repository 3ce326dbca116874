"""The README's examples work: its plug-in runs, its commands compose."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import hydra
import numpy as np
import pytest
from omegaconf import OmegaConf

from launch import slurm
from launch.script import render
from rlvr.advantage.token import build_plugin, token_advantage
from rlvr.cli.compose import check_overrides, recipes_folder, register_schema
from rlvr.config import Config
from rlvr.validate import validate
from tests.helpers.batches import small_batch
from tests.helpers.paths import REPOSITORY

README = (REPOSITORY / "README.md").read_text()
COMMANDS = [
    line.partition("#")[0].strip() for line in README.splitlines() if line.startswith("python -m rlvr.train")
]
SLURM_DOC = (REPOSITORY / "docs" / "slurm.md").read_text()
SUBMISSIONS = [
    line.partition("#")[0].strip()
    for line in (README + SLURM_DOC).splitlines()
    if line.startswith("python -m launch.slurm")
]


def test_the_plug_in_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [example] = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len([line for line in example.splitlines() if line.strip()]) <= 10
    (tmp_path / "my_weights.py").write_text(example)
    monkeypatch.syspath_prepend(tmp_path)
    plugin = build_plugin("my_weights:SurprisalWeight", {"strength": 0.4})
    batch = token_advantage(small_batch(), plugin, normalize=False, progress=0.0, seed=0)
    expected = 1 + 0.4 * (np.asarray([0.0, 1.0, 2.5, 5.0, 5.0]) / 5 - 0.5)
    np.testing.assert_allclose(batch.token_weight, expected, rtol=1e-6)
    np.testing.assert_allclose(batch.token_advantage, expected * np.asarray([1, 1, -1, -1, -1]), rtol=1e-6)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_of_the_readme(command: str) -> None:
    arguments = shlex.split(command)[3:]
    register_schema()
    check_overrides(arguments)
    overrides = [a for a in arguments if "=" in a]
    if "-m" in arguments:  # the first job of the sweep
        overrides = [a.split(",")[0] for a in overrides]
    with hydra.initialize_config_dir(str(recipes_folder()), version_base="1.3"):
        cfg = OmegaConf.to_object(hydra.compose("train", overrides=overrides))
    assert isinstance(cfg, Config)
    if "my_weights" not in command:
        validate(cfg)


def test_there_are_commands_to_test() -> None:
    assert len(COMMANDS) >= 4


@pytest.mark.parametrize("command", SUBMISSIONS)
def test_the_submissions_of_the_documents(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [site] = re.findall(r"```yaml\n(.*?)```", SLURM_DOC, flags=re.DOTALL)
    (tmp_path / "site.yaml").write_text(site)
    monkeypatch.chdir(tmp_path)
    request = slurm.parse([*shlex.split(command)[3:], "--dry-run"])
    script = render(request.config, slurm.plan(request))
    assert script.startswith("#!/bin/bash\n")
    assert ("#SBATCH --array=" in script) == ("-m" in command.split()[3:])
    assert ("#SBATCH --account=my-account\n" in script) == ("--site" in command)


def test_the_submissions_are_found() -> None:
    assert len(SUBMISSIONS) >= 5
