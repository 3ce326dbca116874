"""The command `python -m rlvr.evaluate`: its short forms, its errors, and one real evaluation."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from rlvr.analysis.evaluation import read_evaluation
from rlvr.analysis.run import read_run, require_verifiers
from rlvr.analysis.shift.inputs import with_run
from rlvr.cli.evaluate_arguments import expand_arguments
from rlvr.cli.overrides.command_line import TRAINING, parse_overrides
from rlvr.cli.overrides.compose import compose, register_schema
from rlvr.config import Config, SourceConfig
from rlvr.data.eval_sets import eval_named, eval_of
from rlvr.errors import ConfigError
from rlvr.evaluate import evaluate_model
from rlvr.rollout.stop import Ends, ends_of
from rlvr.validate import validate
from tests.helpers import preloaded


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
    return preloaded.run("rlvr.evaluate", *arguments, timeout=timeout)


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
        "cluster.threads_per_actor=1",
        f"run.root={tmp_path}",
    ]
    first = run(*common, "run.name=first", timeout=900)
    assert first.returncode == 0, first.stderr
    second = run(*common, "run.name=second", f"compare={tmp_path / 'first'}", timeout=900)
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


@pytest.fixture
def own_run(tmp_path, monkeypatch):
    """A run that judges its policy in its own way throughout, its folder, and its verifier's module."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_rules.py").write_text("def parity(gold, response):\n    return len(response) % 2 == 0\n")
    cfg = Config(recipe="test")
    cfg.model = replace(cfg.model, dtype="bfloat16", max_length=96, trust_remote_code=True)
    cfg.data.eval = [
        SourceConfig(name="held", path=str(tmp_path / "it's here.jsonl"), answer="gold", limit=3)
    ]
    cfg.data.template, cfg.data.max_prompt_tokens, cfg.data.on_long_prompt = "chat", 40, "skip"
    cfg.rollout.max_response_tokens = 50
    cfg.rollout.stop, cfg.rollout.stop_token_ids, cfg.rollout.min_tokens = (
        ["</answer>", "\n\n", "it's"],
        [5],
        2,
    )
    cfg.reward = replace(
        cfg.reward,
        policy="strict",
        verifier="own_rules:parity",
        truncated_can_be_correct=True,
        deadline_seconds=1.5,
        memory_mb=512,
        incorrect=-1.0,
        overlong="soft",
        workers=3,
    )
    cfg.eval = replace(cfg.eval, samples_per_prompt=2, temperature=0.6, top_p=0.9)
    folder = tmp_path / "runs" / "mine"
    for policy in (folder / "policy", folder / "checkpoints" / "step_000002" / "policy"):
        policy.mkdir(parents=True)
        (policy / "config.json").write_text("{}")
        (policy.parent / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.structured(cfg)))
    return cfg, folder


def composed(arguments):
    """The configuration of an evaluation's command line."""
    register_schema()
    cfg = OmegaConf.to_object(compose(parse_overrides(expand_arguments(arguments)[0]), TRAINING))
    assert isinstance(cfg, Config)
    return cfg


@pytest.mark.slow
@pytest.mark.parametrize(
    "where", ["policy", ".", "checkpoints/step_000002/policy", "checkpoints/step_000002"]
)
def test_the_policy_of_a_run_is_judged_as_the_run_judged_it(own_run, where):
    cfg, folder = own_run
    got = composed([f"model={folder / where}"])
    exported = folder / where if where.endswith("policy") else folder / where / "policy"
    assert got.model == replace(cfg.model, path=str(exported))
    assert got.data == cfg.data
    assert got.rollout.max_response_tokens == 50
    assert ends_of(got.rollout) == ends_of(cfg.rollout) == Ends(("</answer>", "\n\n", "it's"), (5,), 2)
    assert got.reward == replace(cfg.reward, overlong=got.reward.overlong, workers=1)  # read by training only
    assert got.eval == cfg.eval
    require_verifiers(got.reward, [])


@pytest.mark.slow
def test_ones_own_word_wins_over_the_run(own_run):
    _, folder = own_run
    got = composed(
        ["reward.verifier=null", f"model={folder}", "data=arithmetic_heldout", "n=5", "eval.top_p=1.0"]
    )
    assert got.reward.verifier is None
    assert got.data.eval == [SourceConfig(name="arithmetic_heldout")]
    assert (got.eval.samples_per_prompt, got.eval.temperature, got.eval.top_p) == (5, 0.6, 1.0)
    assert composed([f"model={folder}", "data=arithmetic"]).data.eval == Config(recipe="x").data.eval


@pytest.mark.slow
def test_ones_own_word_wins_over_what_a_set_of_the_run_says(own_run):
    cfg, folder = own_run
    cfg.data.eval[0].samples_per_prompt, cfg.data.eval[0].temperature, cfg.data.eval[0].every = 1, 0.0, 5
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.structured(cfg)))
    assert composed([f"model={folder}"]).data.eval == cfg.data.eval
    got = composed([f"model={folder}", "n=5", "eval.temperature=0.8"])
    assert (got.data.eval[0].samples_per_prompt, got.data.eval[0].temperature) == (None, None)
    assert eval_named("held", got) == replace(cfg.eval, samples_per_prompt=5, temperature=0.8, every=5)


@pytest.mark.slow
@pytest.mark.parametrize("own", [1, None])
def test_a_greedy_set_of_the_run_keeps_its_single_sample(own_run, own):
    """More of them would be all the same, and are refused; whether the set itself or the run's `eval` says one."""
    cfg, folder = own_run
    cfg.eval.samples_per_prompt = 1
    cfg.data.eval.append(SourceConfig(name="arithmetic_heldout", samples_per_prompt=own, temperature=0.0))
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.structured(cfg)))
    got = composed([f"model={folder}", "n=5"])
    validate(got)
    assert [eval_of(source, got.eval).samples_per_prompt for source in got.data.eval] == [5, 1]
    got = composed([f"model={folder}", "n=5", "eval.temperature=0.8"])
    assert [eval_of(source, got.eval).samples_per_prompt for source in got.data.eval] == [5, 5]


def test_a_verifier_that_cannot_be_imported_is_named_before_anything_starts(own_run, tmp_path):
    cfg, _ = own_run
    for verifier, reason in (("nowhere:parity", "no module 'nowhere'"), ("nowhere.at.all:f", "nowhere")):
        got = replace(cfg, reward=replace(cfg.reward, verifier=verifier))
        got.run.root = str(tmp_path / "evaluations")
        with pytest.raises(ConfigError, match=rf"verifier {verifier}: .*{reason}.*folder that the run was"):
            evaluate_model(got)
    assert not (tmp_path / "evaluations").exists()


def test_a_run_without_a_policy_is_named(own_run):
    _, folder = own_run
    (folder / "policy" / "config.json").unlink()
    with pytest.raises(
        ConfigError, match=r"model=.*mine: .*holds no policy.*run\.resume=auto run\.export=true"
    ):
        expand_arguments([f"model={folder}"])


@pytest.mark.slow
def test_analysis_and_cross_sampling_judge_by_the_same_configuration(own_run):
    cfg, folder = own_run
    run = read_run(folder)
    assert run.config == cfg
    shift = with_run(str(folder))
    assert (shift.reward, shift.data, shift.eval) == (cfg.reward, cfg.data, cfg.eval)
    assert shift.model == replace(cfg.model, path=str(folder / "policy"), base_path="builtin")
