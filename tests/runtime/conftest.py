"""A run folder with its configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlvr.config import Config
from rlvr.runtime.disk.folder import RunFolder


@pytest.fixture
def cfg() -> Config:
    return Config(recipe="test")


@pytest.fixture
def folder(tmp_path: Path, cfg: Config) -> RunFolder:
    made = RunFolder(tmp_path, "mine")
    made.create(cfg)
    return made
