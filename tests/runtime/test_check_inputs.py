"""What is checked before anything is started, also where a job is only submitted."""

from __future__ import annotations

import pytest

from rlvr.config import Config, SourceConfig
from rlvr.errors import ConfigError
from rlvr.runtime.inputs import check_verifiers, check_without_engines, distinct_inputs, read_inputs
from rlvr.types import Problem
from rlvr.validate import validate

PROBLEM = Problem("p/1", "q", "12", "p")


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "own_checks.py").write_text(
        "import time\n"
        "def fine(gold, response): return gold in response\n"
        "def raises(gold, response): raise KeyError('tests')\n"
        "def hangs(gold, response): time.sleep(60)\n"
        "def odd(gold, response): return 2.0\n"
        "def one(gold): return True\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # the grader's workers are processes of their own
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(name: str) -> Config:
        cfg = Config(recipe="test")
        cfg.reward.verifier, cfg.reward.deadline_seconds = f"own_checks:{name}", 1.0
        return cfg

    return make


def test_a_verifier_is_tried_on_a_problem(own):
    check_verifiers(own("fine"), [PROBLEM])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("raises", "KeyError: 'tests'"),
        pytest.param(
            "hangs",
            r"no verdict within 1 s\. Import .* or raise reward\.deadline_seconds",
            marks=pytest.mark.slow,
        ),
        ("odd", "expected a Verdict, a bool or a score"),
        ("one", "2 arguments"),
        ("absent", "has no absent"),
    ],
)
def test_a_verifier_that_cannot_work_is_refused_before_the_start(own, name, words):
    with pytest.raises(ConfigError, match=words):
        read_inputs(own(name))


@pytest.mark.slow
@pytest.mark.parametrize("place", ["reward", "data.train"])
def test_options_that_math_does_not_have_are_refused_before_the_start(place):
    cfg = Config(recipe="test")
    section = cfg.reward if place == "reward" else cfg.data.train
    section.verifier_options = {"column": "tests"}
    with pytest.raises(ConfigError, match="verifier math: it has no option column"):
        read_inputs(cfg)


@pytest.mark.parametrize("template", ["dapo", "dapo_plain"])
@pytest.mark.parametrize("policy", ["last_box", "strict"])
def test_a_template_and_a_policy_that_cannot_meet_are_refused(template, policy):
    cfg = Config(recipe="test")
    cfg.data.template, cfg.reward.policy = template, policy
    with pytest.raises(ConfigError, match=r"reward\.policy=last_box_or_unboxed"):
        validate(cfg)
    cfg.reward.policy = "last_box_or_unboxed"
    validate(cfg)


@pytest.mark.slow
def test_what_lies_on_the_hub_is_named_and_the_rest_is_read(tmp_path, own):
    cfg = Config(recipe="test")
    assert check_without_engines(cfg) == []
    cfg.model.path = "Qwen/Qwen2.5-Math-1.5B"
    [note] = check_without_engines(cfg)
    assert "model Qwen/Qwen2.5-Math-1.5B is on the hub" in note
    (tmp_path / "rows.jsonl").write_text('{"question": "q"}\n')
    cfg.data.train = SourceConfig(name="mine", path=str(tmp_path / "rows.jsonl"))
    with pytest.raises(ConfigError, match="row 1, column 'answer'"):
        check_without_engines(cfg)
    broken = own("raises")
    with pytest.raises(ConfigError, match="KeyError"):
        check_without_engines(broken)


def test_a_sweep_reads_each_kind_of_input_once():
    one, two, three = (Config(recipe="test") for _ in range(3))
    two.learner.lr = 1.0
    three.data.template = "dapo"
    assert distinct_inputs([one, two, three]) == [one, three]
