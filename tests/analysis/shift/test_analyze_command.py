"""The command `python -m rlvr.analyze`: its short forms, its errors, and one real analysis."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from rlvr.cli.analyze_arguments import check_arguments, expand_arguments
from rlvr.data.models.tokenizer import model_folder
from rlvr.errors import ConfigError
from tests.helpers import preloaded
from tests.helpers.analyze_cases import save_shifted
from tests.helpers.paths import REPOSITORY

PAIR = ["base=builtin", "policy=builtin", "output=out"]


def parsed(arguments):
    """Key and value of every argument, as Hydra reads them."""
    expanded, _ = expand_arguments(arguments)
    return {o.key_or_group: o.value() for o in OverridesParser.create().parse_overrides(expanded)}


def test_short_forms_are_written_out():
    assert parsed(["base=Qwen/Qwen2.5-1.5B", "policy=./it's here", "data=aime24,own:/d.jsonl", "n=4"]) == {
        "model.base_path": "Qwen/Qwen2.5-1.5B",
        "model.path": "./it's here",
        "data.eval": [{"name": "aime24"}, {"name": "own", "path": "/d.jsonl"}],
        "responses": [],
        "base_responses": [],
        "eval.samples_per_prompt": 4,
    }
    assert parsed(["checkpoints=a/step_1,b", "responses=[x.jsonl]"]) == {
        "checkpoints": ["a/step_1", "b"],
        "responses": ["x.jsonl"],
    }
    assert parsed(["responses=r.jsonl", "data=aime24"])["responses"] == ["r.jsonl"]
    assert expand_arguments(["run=runs/latest", "score.top_p=0.9"]) == (["score.top_p=0.9"], "runs/latest")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["base="], "'base=' has no value; write base=PATH|'base=' has no value"),
        (["data=aime77"], "unknown data set"),
        ([*PAIR, "scor.top_p=0.5"], r"scor.top_p: there is no such key; did you mean score.top_p"),
        (["polcy=builtin", "base=builtin"], r"polcy: there is no such key; did you mean policy"),
        (["policy=builtin"], r"base= is missing: give base=PATH and policy=PATH, or run=FOLDER"),
        ([*PAIR, "score.top_p=high"], "'high' of type 'str' could not be converted to Float"),
        ([*PAIR, "oops"], "Overrides look like key=value"),
        (
            PAIR,
            "no responses of the policy: give responses=FILES, or data=SETS to sample them, or trajectory=base",
        ),
        ([*PAIR, "responses=r.jsonl"], "no responses of the base: give base_responses=FILES"),
        ([*PAIR, "responses=r.jsonl", "trajectory=policy", "generate=true"], "no responses of the policy"),
        (["run=./nowhere"], "is not the folder of a training run"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(ConfigError, match=message):
        check_arguments(*expand_arguments(arguments))


def run(*arguments, cwd=REPOSITORY, timeout=120):
    return preloaded.run("rlvr.analyze", *arguments, cwd=cwd, timeout=timeout)


@pytest.mark.slow
def test_errors_leave_nothing_behind(tmp_path):
    done = run("base=builtin", "policy=./nowhere", "data=arithmetic_heldout", "output=out", cwd=tmp_path)
    assert done.returncode == 1
    assert "ConfigError: policy=./nowhere: model folder './nowhere' does not exist" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.e2e
def test_generate_score_and_summarise(tmp_path):
    """The policy samples with vLLM; a second run takes over all that is there."""
    policy = save_shifted(tmp_path / "policy", Path(model_folder("builtin")), seed=1, noise=0.1)
    arguments = [
        *("base=builtin", f"policy={policy}", "data=arithmetic_heldout", "n=2", "select.problems=6"),
        *(f"output={tmp_path / 'out'}", "rollout.kv_cache_mb=64", "cluster.threads_per_actor=1"),
        *("score.responses_per_part=8", "tables.bootstrap=50", "trajectory=policy"),
    ]
    done = run(*arguments, timeout=300)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    assert "12 responses of the policy (6 problems" in done.stdout
    assert "part 2/2" in done.stdout
    rows = pq.read_table(out / "responses.parquet").to_pylist()
    assert [r["trajectory"] for r in rows] == ["policy"] * 12
    table = pq.read_table(out / "tokens")
    assert table.num_rows == sum(r["tokens"] for r in rows)
    # vLLM sampled what the scoring model finds likely: a token of probability 1e-6 would tell of a mix-up.
    assert min(table["logp_policy"].to_pylist()) > -14
    assert len(json.loads((out / "analysis.json").read_text())["headline"]) == 1
    again = run(*arguments, timeout=120)
    assert again.returncode == 0, again.stderr
    assert "sampling" not in again.stdout
    assert "part " not in again.stdout
