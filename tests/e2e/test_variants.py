"""Other shapes of the loop: several engines and ranks, generation ahead of the learner, other models."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerBase, Qwen3ForCausalLM

from rlvr.data.models.tokenizer import load_tokenizer
from tests.helpers.models import random_model, save
from tests.helpers.processes import SMALL, rows, train

pytestmark = pytest.mark.e2e


def learnt(row: dict[str, float]) -> dict[str, float]:
    """The metrics of a step without what may come from a probe."""
    return {name: value for name, value in row.items() if not name.startswith("mismatch/")}


# Sampled before and after, and a greedy reading of a few problems as often as eval.every says.
TWO_READINGS = (
    "data.eval=[{name:arithmetic_heldout,limit:8,every:0},"
    "{name:arithmetic_heldout,limit:8,label:few,draw:4,samples_per_prompt:1,temperature:0,first_and_last:false}]"
)


def test_two_engines_two_ranks_zero3_one_batch_ahead_and_the_same_batches_again(tmp_path: Path) -> None:
    code, output, run = train(
        *SMALL,
        "recipe=gspo",
        "rollout.dynamic_sampling=true",  # refills, so that generation and weight pushes meet
        "learner=cpu_2ranks",
        "learner.zero_stage=3",
        "rollout.engines=2",
        "rollout.staleness=1",
        "loss.rollout_correction=2.0",
        TWO_READINGS,
        f"run.root={tmp_path}",
        "run.name=wide",
    )
    assert code == 0, output
    assert run.leaves_nothing()
    steps = [r for r in rows(tmp_path / "wide") if r["kind"] == "train"]
    assert [r["step"] for r in steps] == [1, 2, 3, 4]
    assert max(r["sampling/staleness"] for r in steps) == 1  # the bound is used and kept
    assert all(r["mismatch/mean"] < 1e-4 for r in steps)  # of every engine, whatever the age of the batch
    summary = json.loads((tmp_path / "wide" / "summary.json").read_text())
    assert summary["mismatch_compared_steps"] == 4
    assert summary["max_logprob_mismatch"] == max(r["mismatch/mean"] for r in steps)
    assert summary["tokens_generated"] > 0
    check_readings(tmp_path / "wide")

    code, output, run = train(
        *SMALL,
        "recipe=gspo",
        "rollout.dynamic_sampling=true",
        "learner=cpu_2ranks",
        "learner.zero_stage=3",
        "rollout.staleness=1",
        "loss.rollout_correction=2.0",
        TWO_READINGS,
        "eval.every=0",
        f"rollout.replay={tmp_path / 'latest'}",  # which is that run until this one begins
        f"run.root={tmp_path}",
        "run.name=again",
    )
    assert code == 0, output
    assert (
        "nothing is sampled for training. Settings: eval.every was 2, is 0; rollout.engines was 2, is 1"
        in output
    )
    again = [r for r in rows(tmp_path / "again") if r["kind"] == "train"]
    # Batches in an order that no second run would have. Beside a probe other responses ran, which rounds otherwise.
    assert [learnt(row) for row in again] == [learnt(row) for row in steps]
    for name in ("batches.jsonl", *(f"samples/step_00000{step}.jsonl" for step in range(1, 5))):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "wide" / name).read_bytes(), name


def check_readings(run: Path) -> None:
    """Sampled before and after on still weights; in between the few, greedy, in the flow, of its step or later."""
    first, between, last = sorted((r for r in rows(run) if r["kind"] == "eval"), key=lambda r: r["step"])
    assert [row["step"] for row in (first, between, last)] == [0, 2, 4]
    for row in (first, last):
        assert {key.split("/")[1] for key in row if key.startswith("eval/")} == {"arithmetic_heldout"}
        assert not any("version" in key for key in row)
    assert {key.split("/")[1] for key in between if key.startswith("eval/")} == {"few"}
    assert 2 <= between["eval/few/version_first"] <= between["eval/few/version_last"] <= 4
    samples = [json.loads(line) for line in (run / "samples" / "eval_000002.jsonl").read_text().splitlines()]
    assert len(samples) == len({sample["problem_id"] for sample in samples}) == 4
    assert all(sample["sample_id"] == f"eval-few@2/{sample['problem_id']}/0" for sample in samples)
    assert {sample["verdict"] for sample in samples} <= {"correct", "wrong", "no_answer"}


def test_tied_qwen3_under_zero3_with_a_plug_in_of_ones_own(tmp_path: Path) -> None:
    """Tied heads are where engines go stale on CPU, and where ZeRO-3 takes the head away; plug-in and verifier live
    outside the package, and texts and tokens of the run's own end its responses."""
    tokenizer = load_tokenizer("builtin")
    model = random_model(
        "qwen3",
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        head_dim=32,
        tie_word_embeddings=True,
        max_position_embeddings=256,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    save(model, tmp_path / "model")
    (tmp_path / "own_weights.py").write_text(
        "class EarlyTokens:\n"
        "    requires = frozenset({'kl_base_policy'})\n"
        "    def weights(self, view):\n"
        "        return 1.0 / (1.0 + view.position + view.signals['kl_base_policy'])\n"
    )
    (tmp_path / "own_verifier.py").write_text(
        "def parity(gold, response):\n    return len(response) % 2 == 0\n"
    )
    code, output, run = train(
        *SMALL,
        "recipe=dr_grpo",
        "learner=cpu_2ranks",
        "learner.zero_stage=3",
        "advantage.token=own_weights.EarlyTokens",
        f"model.path={tmp_path / 'model'}",
        "reward.verifier=own_verifier:parity",
        "learner.lr=1e-3",
        "rollout.stop=['=3',th]",
        "rollout.stop_token_ids=[9,12]",
        "rollout.min_tokens=5",
        f"run.root={tmp_path}",
        "run.name=tied",
        PYTHONPATH=str(tmp_path),
    )
    assert code == 0, output
    assert run.leaves_nothing()
    steps = [r for r in rows(tmp_path / "tied") if r["kind"] == "train"]
    assert all(r["mismatch/mean"] < 1e-4 for r in steps)
    assert steps[-1]["kl_base_policy/p99"] > 1e-3  # the policy did move, and the engine moved with it
    check_ends(tmp_path / "tied", tokenizer, steps)
    policy = Qwen3ForCausalLM.from_pretrained(tmp_path / "tied" / "policy")
    assert policy.lm_head.weight.data_ptr() == policy.model.embed_tokens.weight.data_ptr()


def check_ends(run: Path, tokenizer: PreTrainedTokenizerBase, steps: list[dict[str, float]]) -> None:
    """Every response ends where one of the run's ends says so, and what ended it counts like the rest of it."""
    ended = Counter[str]()
    for row in steps:
        lines = (run / "samples" / f"step_{row['step']:06d}.jsonl").read_text().splitlines()
        samples = [json.loads(line) for line in lines]
        for sample in samples:
            ids = sample["response_ids"]
            text, before = tokenizer.decode(ids), tokenizer.decode(ids[:-1])
            by_text = any(text.count(stop) > before.count(stop) for stop in ("=3", "th"))
            by_token = ids[-1] in (9, 12, tokenizer.eos_token_id)
            assert sample["truncated"] == (not by_text and not by_token)
            assert len(ids) > 5 or sample["truncated"]
            assert not {9, 12, tokenizer.eos_token_id} & set(ids[:5])
            ended["text"] += by_text
            ended["token"] += by_token
        assert row["tokens/trained"] == row["mismatch/compared_tokens"]  # none is masked at its end
        assert row["tokens/trained"] == sum(len(sample["response_ids"]) for sample in samples)
        assert row["mismatch/max"] < 1e-3  # of those that end a response, too
    assert ended["text"]
    assert ended["token"]


def test_engine_and_learner_take_turns(tmp_path):
    """On CPU nothing moves, but every turn is taken, with checkpoints and evaluations between."""
    code, output, run = train(
        *SMALL,
        "cluster.colocate=true",
        "cluster.sleep_level=2",
        "run.save_every=1",
        "eval.every=1",
        "learner.lr=1e-3",
        f"run.root={tmp_path}",
        "run.name=turns",
    )
    assert code == 0, output
    assert "engines and learner take turns on their GPUs (sleep level 2)" in output
    assert run.leaves_nothing()
    steps = [r for r in rows(tmp_path / "turns") if r["kind"] == "train"]
    assert all(r["mismatch/mean"] < 1e-5 for r in steps)
