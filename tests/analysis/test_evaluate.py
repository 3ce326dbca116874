"""The command `python -m rlvr.evaluate`: its short forms, its errors, and one real evaluation."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from rlvr.analysis.evaluation_file import read_evaluation
from rlvr.config import Config
from rlvr.errors import ConfigError
from rlvr.evaluate import expand_arguments


def parsed(arguments):
    """Key and value of every argument, as Hydra reads them."""
    expanded, _ = expand_arguments(arguments)
    return {o.key_or_group: o.value() for o in OverridesParser.create().parse_overrides(expanded)}


def test_short_forms_are_written_out():
    assert parsed(["model=Qwen/Qwen2.5-Math-1.5B", "data=aime24,amc23", "n=32", "seed=3"]) == {
        "model.path": "Qwen/Qwen2.5-Math-1.5B",
        "data.eval": [{"name": "aime24"}, {"name": "amc23"}],
        "eval.samples_per_prompt": 32,
        "seed": 3,
    }


@pytest.mark.parametrize("path", ["/data/a b.jsonl", "./it's here", "C=1+2", "../é"])
def test_paths_survive_hydras_grammar(path):
    values = parsed([f"model={path}", f"data=own:{path}"])
    assert values["model.path"] == path
    assert values["data.eval"] == [{"name": "own", "path": path}]


def test_names_of_recipes_keep_their_meaning():
    assert parsed(["model=builtin", "data=arithmetic"]) == {"model": "builtin", "data": "arithmetic"}
    assert parsed(["data=gsm8k"]) == {"data.eval": [{"name": "gsm8k"}]}


def test_the_evaluation_to_compare_with_is_taken_off_the_command_line():
    assert expand_arguments(["compare=runs/before", "n=2"]) == (
        ["eval.samples_per_prompt=2"],
        Path("runs/before"),
    )


def test_mistakes_are_named():
    with pytest.raises(ConfigError, match=r"data=aime77: unknown.*aime24.*NAME:PATH"):
        expand_arguments(["data=aime24,aime77"])
    with pytest.raises(ConfigError, match="write n=VALUE"):
        expand_arguments(["n="])


def run(*arguments, timeout):
    command = [sys.executable, "-m", "rlvr.evaluate", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout)


@pytest.mark.slow
def test_an_evaluation_that_cannot_work_starts_nothing(tmp_path):
    done = run("model=./nowhere", f"run.root={tmp_path}", timeout=120)
    assert done.returncode == 1
    assert "DataError: model folder './nowhere' does not exist" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.e2e
def test_evaluate_twice_and_compare(tmp_path):
    """The same seed samples the same responses, so the second evaluation differs in nothing."""
    common = [
        "model=builtin",
        "data.eval=[{name:arithmetic_heldout,limit:12}]",
        "n=2",
        f"run.root={tmp_path}",
    ]
    first = run(*common, "run.name=first", timeout=400)
    assert first.returncode == 0, first.stderr
    second = run(*common, "run.name=second", f"compare={tmp_path / 'first'}", timeout=400)
    assert second.returncode == 0, second.stderr
    assert "arithmetic_heldout: 12 problems x 2 samples" in first.stdout
    assert "+0.000 on the earlier evaluation" in second.stdout
    assert "0 of 12 problems differ" in second.stdout
    result = read_evaluation(tmp_path / "second")["arithmetic_heldout"]
    assert result.correct.shape == (12, 2)
    rows = (tmp_path / "second" / "samples" / "eval_arithmetic_heldout.jsonl").read_text().splitlines()
    verdicts = [json.loads(row)["verdict"] == "correct" for row in rows]
    assert verdicts == result.correct.ravel().tolist()


def test_the_policy_of_a_run_is_evaluated_with_the_settings_of_the_run(tmp_path):
    (tmp_path / "policy").mkdir()
    cfg = Config(recipe="test")
    cfg.model.max_length, cfg.data.template, cfg.rollout.max_response_tokens = 512, "chat", 256
    (tmp_path / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.structured(cfg)))
    expanded, _ = expand_arguments([f"model={tmp_path / 'policy'}", "data.template=plain"])
    assert {"model.max_length=512", "rollout.max_response_tokens=256"} <= set(expanded)
    assert expanded.index("data.template=chat") < expanded.index("data.template=plain")  # one's own word wins
    assert expand_arguments(["model=some/model"]) == (["model.path='some/model'"], None)
