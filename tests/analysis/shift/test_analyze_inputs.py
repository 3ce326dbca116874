"""What an analysis is given: training runs, and responses and models that cannot be used, each with one clear error."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    BertLMHeadModel,
    Qwen2Config,
    T5Config,
    T5ForConditionalGeneration,
)

from rlvr.analysis.config import AnalyzeConfig, ScoreConfig, SelectConfig
from rlvr.analysis.shift.inputs import with_run
from rlvr.analysis.shift.responses import build_index
from rlvr.analyze import analyze
from rlvr.config import Config, ModelConfig
from rlvr.data.models.tokenizer import load_tokenizer
from rlvr.errors import ConfigError, DataError, RlvrError
from rlvr.runtime.disk.folder import RunFolder
from tests.helpers.analyze_cases import END, config, save_model, write_responses
from tests.helpers.checkpoints import save


@pytest.mark.slow
def test_a_training_run_gives_everything(models, tmp_path):
    """Base, policy, checkpoints, responses and output; a checkpoint is read as DeepSpeed left it."""
    base, policy = models
    run = tmp_path / "run"
    write_responses(run / "samples" / "eval_000000.jsonl", seed=1)
    write_responses(run / "samples" / "eval_000002.jsonl", seed=2)
    write_responses(run / "samples" / "eval_000004.jsonl", seed=3)
    trained = Config(recipe="test", model=ModelConfig(path=str(base)))
    weights = AutoModelForCausalLM.from_pretrained(policy).state_dict()

    def learner(folder: str) -> None:
        (Path(folder) / "deepspeed").mkdir()
        module = {f"lm.{name}": value for name, value in weights.items()}
        torch.save({"module": module}, Path(folder) / "deepspeed" / "mp_rank_00_model_states.pt")

    (run / "checkpoints").mkdir()
    for step in (2, 4):
        save(RunFolder(run.parent, run.name), trained, step, learner)
    shutil.copy(run / "checkpoints/step_000002/config.yaml", run / "config.yaml")
    shutil.copytree(policy, run / "policy")
    (run / "summary.json").write_text('{"steps": 4}')
    (tmp_path / "latest").symlink_to(run)
    cfg = with_run(str(tmp_path / "latest"))
    assert [Path(p).name for p in (*cfg.responses, *cfg.base_responses)] == [
        "eval_000004.jsonl",
        "eval_000000.jsonl",
    ]
    assert cfg.model.base_path == str(base)
    cfg.tables.bootstrap = 20
    folder = analyze(cfg)
    assert folder == run / "analysis"
    table = pq.read_table(folder / "tokens").to_pylist()
    by_checkpoint = {
        name: [r for r in table if r["checkpoint"] == name] for name in ("step_000002", "policy")
    }
    assert sum(map(len, by_checkpoint.values())) == len(table)
    for old, new in zip(*by_checkpoint.values(), strict=True):
        assert (old["trajectory"], old["js"]) == (new["trajectory"], new["js"])
    assert {r["trajectory"] for r in table} == {"policy", "base"}


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda row: row.pop("response_ids"), r"line 3: field 'response_ids' is missing; a response needs"),
        (lambda row: row.update(reward=None), r"line 3: field 'reward' is missing"),
        (lambda row: row.update(reward="good"), r"line 3: reward is 'good'; expected a number"),
        (
            lambda row: row.update(response_ids=[2, 47]),
            r"line 3: response_ids holds 47, the models have tokens 0..46",
        ),
        (lambda row: row.update(prompt_ids="2+2"), r"line 3: prompt_ids is not a list of whole numbers"),
        (lambda row: row.update(prompt_ids=[]), r"line 3: prompt_ids is empty"),
        (lambda row: row.update(correct="false"), r"line 3: correct is 'false'; expected true or false"),
        (lambda row: row.update(verdict="right"), r"line 3: verdict is 'right'; expected correct, wrong, "),
        (lambda row: row.update(verdict=["correct"]), r"line 3: verdict is \['correct'\]; expected correct"),
    ],
)
def test_bad_response_files_are_named_before_anything_is_scored(case, tmp_path, change, message):
    rows = lines_of(write_responses(tmp_path / "bad.jsonl", seed=3))
    change(rows[2])
    (tmp_path / "bad.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match=message):
        analyze(case(responses=[str(tmp_path / "bad.jsonl")]))
    assert not list((tmp_path / "out").glob("**/*.parquet"))


def test_a_folder_in_the_place_of_a_file_is_named(case, tmp_path):
    (tmp_path / "out" / "responses.parquet").mkdir(parents=True)
    with pytest.raises(RlvrError, match=r"responses\.parquet cannot be written \(Is a directory\)"):
        analyze(case())


def test_unreadable_response_files(case, tmp_path):
    (tmp_path / "bad.jsonl").write_bytes(b'{"problem_id": \n')
    with pytest.raises(DataError, match=r"bad.jsonl, line 1: not JSON"):
        analyze(case(responses=[str(tmp_path / "bad.jsonl")]))
    (tmp_path / "bad.jsonl").write_bytes(b"\xff\xfe\n")
    with pytest.raises(DataError, match=r"bad.jsonl, line 1: not JSON"):
        analyze(case(responses=[str(tmp_path / "bad.jsonl")]))
    with pytest.raises(DataError, match="responses: nothing at"):
        analyze(case(responses=[str(tmp_path / "nowhere*.jsonl")]))


def test_an_empty_selection(case, tmp_path):
    rows = [{**row, "reward": 0.0} for row in lines_of(write_responses(tmp_path / "wrong.jsonl", seed=3))]
    (tmp_path / "wrong.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(
        DataError, match=r"no response of the policy model is selected.*select.verdict=correct"
    ):
        analyze(case(responses=[str(tmp_path / "wrong.jsonl")], select=SelectConfig(verdict="correct")))
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(DataError, match="no response of the policy model is selected"):
        analyze(case(responses=[str(tmp_path / "empty.jsonl")]))


@pytest.mark.slow
def test_selection(case, tmp_path):
    """And what a run's dump says of weight versions is kept."""
    given = lines_of(write_responses(tmp_path / "dump.jsonl", seed=3))
    given[0]["version_spans"] = [[3, 0], [4, 2]]
    (tmp_path / "dump.jsonl").write_text("".join(json.dumps(row) + "\n" for row in given))
    select = SelectConfig(problems=3, samples=2)
    folder = analyze(case(responses=[str(tmp_path / "dump.jsonl")], select=select))
    rows = pq.read_table(folder / "responses.parquet").to_pylist()
    assert [row["version_spans"] for row in rows] == [[[3, 0], [4, 2]]] + [None] * 5
    assert [row["problem_id"] for row in rows] == ["p0", "p0", "p1", "p1", "p2", "p2"]


def test_differing_vocabularies_are_refused(models, tmp_path):
    base, _ = models
    responses = write_responses(tmp_path / "r.jsonl", seed=3)
    wider = save_model(tmp_path / "wider", seed=2, vocabulary=50)
    cfg = config(base, wider, tmp_path / "out", responses=[str(responses)], trajectory="policy")
    with pytest.raises(ConfigError, match=r"has 47 output tokens, policy .*wider has 50"):
        analyze(cfg)
    renamed = save_model(tmp_path / "renamed", seed=2)
    file = renamed / "tokenizer.json"
    words = json.loads(file.read_text())
    vocabulary = words["model"]["vocab"]
    vocabulary["+"], vocabulary["-"] = vocabulary["-"], vocabulary["+"]
    file.write_text(json.dumps(words))
    cfg = config(base, renamed, tmp_path / "out2", responses=[str(responses)], trajectory="policy")
    with pytest.raises(ConfigError, match=r"do not share a vocabulary: '\+' is 12 in the first and 13"):
        analyze(cfg)


def bidirectional(folder):
    config_ = BertConfig(
        vocab_size=47,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=32,
        initializer_range=0.3,
    )
    BertLMHeadModel(config_).save_pretrained(folder)


def encoder_decoder(folder):
    config = T5Config(vocab_size=47, d_model=32, num_layers=1, d_kv=8, d_ff=32, num_heads=4)
    T5ForConditionalGeneration(config).save_pretrained(folder)


def classifier(folder):
    from transformers import Qwen2ForSequenceClassification

    Qwen2ForSequenceClassification(
        Qwen2Config(
            vocab_size=47,
            hidden_size=32,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=4,
            num_key_value_heads=2,
            tie_word_embeddings=False,
            pad_token_id=0,
        )
    ).save_pretrained(folder)


def nothing(folder):
    (folder / "config.json").write_text("{}")


def damaged(folder):
    save_model(folder, seed=1)
    lm = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        lm.lm_head.weight[3] = float("nan")
    lm.save_pretrained(folder)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (bidirectional, "outputs depend on tokens further right"),
        (encoder_decoder, "not a causal language model"),
        (classifier, r"not a causal language model: its files lack lm_head.weight"),
        (nothing, "without weights in Hugging Face format"),
        (damaged, "its logits are not finite"),
    ],
)
def test_a_policy_that_is_not_a_causal_model(models, tmp_path, make, message):
    folder = tmp_path / "strange"
    folder.mkdir()
    make(folder)
    load_tokenizer("builtin").save_pretrained(folder)
    responses = write_responses(tmp_path / "r.jsonl", seed=3)
    cfg = config(models[0], folder, tmp_path / "out", responses=[str(responses)], trajectory="policy")
    with pytest.raises((ConfigError, DataError), match=message):
        analyze(cfg)


def test_a_folder_without_a_run(tmp_path):
    with pytest.raises(ConfigError, match="is not the folder of a training run"):
        with_run(str(tmp_path))


def test_all_mistakes_are_listed_at_once(tmp_path):
    cfg = AnalyzeConfig(
        trajectory="both of them",
        score=ScoreConfig(top_p=0.0, temperature=-1.0),
        model=ModelConfig(path="builtin"),
    )
    with pytest.raises(ConfigError) as caught:
        analyze(cfg)
    for key in ("trajectory=", "score.top_p=", "score.temperature=", "output is missing"):
        assert key in str(caught.value)


@pytest.mark.parametrize(
    ("said", "correct"),
    [
        ({}, True),  # the reward is 1
        ({"correct": None, "verdict": None}, True),
        ({"correct": False}, False),
        ({"correct": 0, "verdict": None}, False),
        ({"correct": False, "verdict": "correct"}, True),
        ({"verdict": "no_answer"}, False),
    ],
)
def test_what_the_source_says_of_a_response_goes_before_its_reward(tmp_path, said, correct):
    row = {"problem_id": 3, "prompt_ids": [4, 15], "response_ids": [END], "reward": 1, **said}
    (tmp_path / "r.jsonl").write_text(json.dumps(row) + "\n")
    files = {"policy": [tmp_path / "r.jsonl"]}
    index = tmp_path / "index.parquet"
    found = build_index(index, files, SelectConfig(), 1, load_tokenizer("builtin"), 47)
    assert found.correct == {"policy": int(correct)}
    assert pq.read_table(index)["correct"].to_pylist() == [correct]


def test_the_end_token_alone_is_a_response(models, tmp_path):
    row = {"problem_id": 3, "prompt_ids": [4, 15], "response_ids": [END], "reward": 1, "correct": False}
    (tmp_path / "r.jsonl").write_text(json.dumps(row) + "\n" + json.dumps({**row, "response_ids": []}) + "\n")
    cfg = config(*models, tmp_path / "out", responses=[str(tmp_path / "r.jsonl")], trajectory="policy")
    folder = analyze(cfg)
    (token,) = pq.read_table(folder / "tokens").to_pylist()
    assert (token["problem_id"], token["section"], token["correct"]) == ("3", "first", False)
    assert json.loads((folder / "analysis.json").read_text())["responses"]["empty"] == 1
