"""One syntax for what users bring along."""

from __future__ import annotations

import pytest

from rlvr.advantage.token import build_plugin
from rlvr.config import Config
from rlvr.dotted import load_dotted
from rlvr.errors import ConfigError
from rlvr.reward.verifiers import build_verifier
from rlvr.validate import validate


def test_the_colon_and_the_old_form_find_the_same(caplog):
    import json

    assert load_dotted("json:dumps", "reward.verifier") is json.dumps
    assert load_dotted("json:decoder.JSONDecoder", "x") is json.JSONDecoder
    assert not caplog.records
    assert load_dotted("json.dumps", "advantage.token") is json.dumps
    assert "write it as json:dumps" in caplog.text


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("no_such_module:f", "cannot be imported.*no_such_module.*PYTHONPATH"),
        ("json:dump_s", "json has no dump_s; did you mean dump"),
        ("json:", "expected package.module:attribute"),
        (":f", "expected package.module:attribute"),
        ("json", "expected package.module:attribute"),
    ],
)
def test_what_cannot_be_found_is_said(path, words):
    with pytest.raises(ConfigError, match=rf"reward\.verifier={path}: .*{words}"):
        load_dotted(path, "reward.verifier")


def test_a_module_that_fails_at_its_import(tmp_path, monkeypatch):
    (tmp_path / "breaks_at_import.py").write_text("raise KeyError('no licence')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError, match="KeyError: 'no licence'"):
        load_dotted("breaks_at_import:f", "rollout.answers")


def test_every_key_takes_the_same_syntax():
    assert build_plugin("rlvr.advantage.token.uniform:Uniform", {}) == build_plugin("uniform", {})
    assert callable(build_verifier("rlvr.reward.verifiers.reference:math_verify_default"))
    cfg = Config(recipe="x")
    cfg.loss.objective, cfg.rollout.answers = "nll", "rlvr.data.tasks.arithmetic:step_by_stepp"
    with pytest.raises(ConfigError, match=r"rollout\.answers=.*did you mean step_by_step"):
        validate(cfg)


def test_a_verifier_has_a_name_as_the_other_plug_ins_do():
    assert build_verifier("math_verify_default") is build_verifier(
        "rlvr.reward.verifiers.reference:math_verify_default"
    )
    with pytest.raises(
        ConfigError,
        match=r"^reward\.verifier=nonsense: unknown; use one of .*python_tests or package",
    ):
        build_verifier("nonsense")


def test_a_verifier_must_take_two_arguments():
    with pytest.raises(ConfigError, match="2 arguments"):
        build_verifier("json:loads")
    with pytest.raises(ConfigError, match="cannot be called"):
        build_verifier("math:pi")
