"""config.yaml: OmegaConf is the oracle, for it reads what we write and wrote what earlier versions left."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from rlvr.config import Config, SourceConfig
from rlvr.runtime.disk.settings import CONFIG_FILE, UNREADABLE, as_plain, as_yaml, read_settings
from tests.helpers.composing import compose
from tests.helpers.paths import REPOSITORY


def odd(text: str) -> Config:
    """A configuration with this text in a key, in a list and in a dictionary without a schema."""
    cfg = Config(recipe="test")
    cfg.run.name = text
    cfg.rollout.stop = [text, text]
    cfg.advantage.options = {"name": text, "rate": 1e-7, "none": None, "on": True}
    cfg.data.eval = [SourceConfig(name="a", path=text), SourceConfig(name="b", path=text)]
    return cfg


@pytest.mark.parametrize("recipe", ["dapo_divweight", "dapo_divweight_32b_4nodes"])
def test_the_text_is_the_one_that_omegaconf_writes(recipe):
    cfg = compose(f"recipe={recipe}")
    assert as_yaml(cfg) == OmegaConf.to_yaml(OmegaConf.structured(cfg))
    assert as_plain(cfg) == OmegaConf.to_container(OmegaConf.structured(cfg))


# Surrogates and control characters cannot stand in YAML, nor on a command line.
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]))


@pytest.mark.slow
@settings(max_examples=10)  # the oracle takes its time
@given(TEXT)
@example("1e5")
@example("nan")
@example("-.inf")
@example("yes")
@example("2026-11-29")
@example("0o17")
@example("12:30")
@example("=")
@example("null")
@example("${seed}")
@example("two\nlines\n")
@example(" Straße, 数学: #1 ")
@example("\U0001f600")
def test_texts_come_back_as_texts_from_either_reader(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("run")
    cfg = odd(text)
    (folder / CONFIG_FILE).write_text(as_yaml(cfg), encoding="utf-8")
    assert read_settings(folder) == as_plain(cfg)
    assert OmegaConf.to_container(OmegaConf.load(folder / CONFIG_FILE)) == as_plain(cfg)


@pytest.mark.parametrize("text", ["", "- 1\n", "seven", "a: [1", "a: b: c", "\x00\x00", "{}"])
def test_what_is_no_configuration_is_an_error(tmp_path: Path, text):
    (tmp_path / CONFIG_FILE).write_text(text)
    with pytest.raises(UNREADABLE):
        read_settings(tmp_path)


def test_bytes_that_are_no_text_are_an_error(tmp_path: Path):
    (tmp_path / CONFIG_FILE).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UNREADABLE):
        read_settings(tmp_path)


def test_a_path_of_another_alphabet_comes_back_whatever_the_locale(tmp_path: Path):
    text = "from rlvr.config import Config; from rlvr.runtime.disk import files, settings; from pathlib import Path;"
    text += "cfg = Config(recipe='test'); cfg.data.train.path = 'gr\\xf6\\xdfe/\\u6570.jsonl'; folder = Path('.');"
    text += "files.write_atomically(folder / settings.CONFIG_FILE, settings.as_yaml(cfg));"
    text += "assert settings.read_settings(folder)['data']['train']['path'] == cfg.data.train.path"
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(REPOSITORY)}
    subprocess.run([sys.executable, "-c", text], cwd=tmp_path, env=os.environ | locale, check=True)
