"""The token table against float64 probabilities computed for one token at a time."""

import dataclasses
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from rlvr.analysis.config import ScoreConfig
from rlvr.analysis.models import load_causal_lm
from rlvr.analysis.shift.columns import TOKEN_COLUMNS
from rlvr.analysis.shift.parts import sections
from rlvr.analyze import analyze
from rlvr.config import ModelConfig
from rlvr.data.models.tokenizer import load_tokenizer
from tests.helpers.analyze_cases import (
    END,
    VOCABULARY,
    config,
    next_token_probs,
    plain_scores,
    save_model,
    save_shifted,
    write_responses,
)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """(base, policy); the policy has another width, so nothing can be shared between them."""
    folder = tmp_path_factory.mktemp("models")
    return save_model(folder / "base", seed=1), save_model(folder / "policy", seed=2, hidden=48)


@pytest.mark.slow
@pytest.mark.parametrize(
    "score",
    [
        ScoreConfig(temperature=1.0, top_p=0.7, responses_per_part=5, device="cpu"),
        ScoreConfig(
            temperature=0.6,
            top_p=0.9,
            responses_per_part=4,
            device="cpu",
            tokens_per_micro_batch=30,
            workspace_mb=0.005,
        ),
    ],
)
def test_every_column_against_float64_one_token_at_a_time(models, tmp_path, score):
    base, policy = models
    files = {
        name: write_responses(tmp_path / f"{name}.jsonl", seed) for name, seed in [("policy", 3), ("base", 4)]
    }
    cfg = config(
        base,
        policy,
        tmp_path / "out",
        score=score,
        responses=[str(files["policy"])],
        base_responses=[str(files["base"])],
    )
    folder = analyze(cfg)
    table = pq.read_table(folder / "tokens").to_pylist()
    lms = [AutoModelForCausalLM.from_pretrained(path).double().eval() for path in (policy, base)]
    given = [json.loads(line) for f in files.values() for line in f.read_text().splitlines()]
    assert sum(len(row["response_ids"]) for row in given) == len(table)
    rows = iter(table)
    for number, response in enumerate(given):
        ids = response["response_ids"]
        for t, token in enumerate(ids):
            row = next(rows)
            assert (row["response"], row["position"], row["from_end"]) == (number, t, len(ids) - 1 - t)
            assert (row["token_id"], row["problem_id"]) == (token, response["problem_id"])
            assert row["reward"] == response["reward"]
            prefix = response["prompt_ids"] + ids[:t]
            p, q = (next_token_probs(lm, prefix, score.temperature) for lm in lms)
            for name, expected in plain_scores(p, q, token, score.top_p).items():
                if isinstance(expected, int):
                    assert row[name] == expected, (name, number, t)
                else:
                    np.testing.assert_allclose(row[name], expected, rtol=3e-4, atol=2e-5, err_msg=name)
    assert {row["trajectory"] for row in table} == {"policy", "base"}
    assert {row["checkpoint"] for row in table} == {"policy"}


@pytest.mark.slow
def test_a_policy_equal_to_its_base_has_not_moved(models, tmp_path):
    base, _ = models
    responses = write_responses(tmp_path / "r.jsonl", seed=5)
    cfg = config(base, base, tmp_path / "out", responses=[str(responses)], trajectory="policy")
    table = pq.read_table(analyze(cfg) / "tokens")
    for name in ("js", "js_top_p", "kl_policy_base", "kl_base_policy"):
        assert set(table[name].to_pylist()) == {0.0}
    assert set(table["overlap_10"].to_pylist()) == {10}
    assert set(table["top_policy_rank_base"].to_pylist()) == {1}


@pytest.mark.slow
def test_files_say_what_their_columns_mean(models, tmp_path):
    base, policy = models
    responses = write_responses(tmp_path / "r.jsonl", seed=6)
    cfg = config(base, policy, tmp_path / "out", responses=[str(responses)], trajectory="policy")
    folder = analyze(cfg)
    schema = pq.read_schema(folder / "tokens" / "part-00000.parquet")
    assert schema.names == [c.name for c in TOKEN_COLUMNS]
    assert schema.field("js").metadata[b"unit"] == b"nats"
    assert b"JS(policy, base)" in schema.field("js").metadata[b"meaning"]
    assert schema.metadata[b"top_p"] == b"0.7"
    index = pq.read_table(folder / "responses.parquet").to_pylist()
    assert [row["part"] for row in index] == [0] * 5 + [1] * 5 + [2] * 2
    assert all(len(row["response_ids"]) == row["tokens"] for row in index)


@pytest.mark.slow
def test_checkpoints_are_scored_on_the_same_responses(models, tmp_path):
    base, _ = models
    near = save_shifted(tmp_path / "near", base, seed=7, noise=0.02)
    far = save_shifted(tmp_path / "far", base, seed=7, noise=0.2)
    responses = write_responses(tmp_path / "r.jsonl", seed=8)
    cfg = config(
        base, far, tmp_path / "out", checkpoints=[str(near)], responses=[str(responses)], trajectory="policy"
    )
    table = pq.read_table(analyze(cfg) / "tokens")
    names = table["checkpoint"].to_pylist()
    size = names.count("near")
    assert names == ["near"] * size + ["policy"] * size
    for name in ("response", "position", "token_id", "logp_base"):
        values = table[name].to_pylist()
        assert values[:size] == values[size:]
    js = np.asarray(table["js"])
    assert js[:size].mean() < js[size:].mean() / 3


def test_sections_of_a_response():
    tokenizer = load_tokenizer("builtin")
    ids = tokenizer.encode(r"first 4+5=9 so \boxed{9}", add_special_tokens=False)
    names = sections([*ids, END], tokenizer)
    texts = {
        name: tokenizer.decode([i for i, n in zip([*ids, END], names, strict=True) if n == name])
        for name in ("first", "reasoning", "answer", "end")
    }
    assert texts["first"] == "first"
    assert texts["reasoning"].strip() == "4+5=9 so"
    assert texts["answer"].strip() == r"\boxed{9}"
    assert texts["end"] == tokenizer.eos_token
    more = tokenizer.encode(" then 3", add_special_tokens=False)
    assert sections([*ids, *more], tokenizer) == names[:-1] + ["end"] * len(more)
    assert sections(ids[:5], tokenizer) == ["first"] + ["reasoning"] * 4
    assert sections([END], tokenizer) == ["first"]


SMALL = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "pad_token_id": 0,
    "bos_token_id": 0,
    "eos_token_id": END,
}


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("gemma2", {"final_logit_softcapping": 5.0, "query_pre_attn_scalar": 8}),
        ("granite", {"logits_scaling": 4.0}),
        ("cohere", {"logit_scale": 0.25}),
        ("phi", {}),
        ("gpt2", {"n_embd": 32, "n_layer": 2, "n_head": 4}),
    ],
)
def test_heads_with_a_bias_a_scale_or_a_cap(tmp_path, kind, more):
    torch.manual_seed(0)
    lm = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **{**SMALL, **more}))
    with torch.no_grad():
        for weight in lm.parameters():
            weight += 0.2 * torch.randn(weight.shape)
    lm.save_pretrained(tmp_path)
    model = load_causal_lm(str(tmp_path), dataclasses.replace(ModelConfig(), attention="eager"), "cpu")
    ids = torch.randint(0, VOCABULARY, (1, 9))
    with torch.no_grad():
        expected = model.lm(input_ids=ids).logits[0]
    torch.testing.assert_close(model.logits(model.hidden(ids)[0]), expected, rtol=1e-4, atol=1e-4)
