"""Ranks that share sequences: the same numbers as one rank, and models that cannot be shared are refused."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import GPT2Config, LlamaConfig, Qwen3NextConfig

from rlvr.config import Config
from rlvr.learner.model.ulysses import sequence_parallel_problems
from rlvr.learner.packing import micro_batch, sequence_shard
from rlvr.learner.scoring import STATISTIC
from tests.helpers.probes import run_probe
from tests.helpers.records import random_batch

CASES = (
    "grouped heads",
    "copied heads",
    "checkpointing",
    "ratio of a sequence",
    "learned positions",
    "teacher",
)


@pytest.fixture(scope="module")
def probed() -> list[dict[str, dict[str, float]]]:
    return run_probe("ulysses_probe", *CASES)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_two_ranks_that_share_sequences_equal_one(probed, case):
    for of_rank in probed:
        found = of_rank[case]
        for name in (*STATISTIC, "loss", "gradient"):
            assert found[name] < 1e-5, f"{name}: off by {found[name]:.2e}"
        assert found["largest divergence"] > 0.05
        assert found["largest gradient"] > 1e-3
    shares = [of_rank[case]["share of tokens"] for of_rank in probed]
    assert sum(shares) == pytest.approx(1)
    assert min(shares) > 0.4  # columns in turn: neither rank has all of the prompts


LENGTHS = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 20)), min_size=1, max_size=6)


@given(LENGTHS, st.integers(2, 5))
def test_every_response_token_is_on_one_rank_at_its_own_position(lengths, ranks):
    batch = random_batch(*zip(*lengths, strict=True))
    micro = micro_batch(batch, np.arange(batch.size))
    seen = []
    for rank in range(ranks):
        part, index = sequence_shard(micro, rank, ranks)
        seen += index.tolist()
        assert part.token.tolist() == micro.token[index].tolist()
        positions = part.positions[0, part.column]
        assert positions.tolist() == micro.column[index].tolist()
        assert torch.equal(part.input_ids[part.row, part.column], micro.input_ids[part.row, positions])
        assert part.positions.max() < micro.input_ids.shape[1]  # a model may have no further ones
        assert part.input_ids.shape[1] == -(-micro.input_ids.shape[1] // ranks)
    assert sorted(seen) == list(range(len(micro.token)))


@pytest.mark.parametrize(
    ("config", "ranks", "said"),
    [
        (
            LlamaConfig(hidden_size=576, num_attention_heads=9, num_key_value_heads=3),
            2,
            r"9 attention heads.*use one of \[1, 3, 9\]",
        ),
        (
            LlamaConfig(hidden_size=768, num_attention_heads=12, num_key_value_heads=4),
            6,
            "12 attention heads and 4 of keys and values",
        ),
        (GPT2Config(n_head=12), 5, "12 attention heads"),
        (
            LlamaConfig(rope_scaling={"rope_type": "dynamic", "factor": 2.0}),
            2,
            "rotary embeddings of the kind",
        ),
        (Qwen3NextConfig(), 2, "layers of the kind linear_attention"),
    ],
)
def test_models_whose_sequences_cannot_be_shared_are_refused(config, ranks, said):
    cfg = Config(recipe="test")
    assert sequence_parallel_problems("model.path=x", config, cfg) == []
    cfg.learner.sequence_parallel = ranks
    [problem] = sequence_parallel_problems("model.path=x", config, cfg)
    assert problem.startswith(f"learner.sequence_parallel={ranks}: model.path=x has ")
    assert re.search(said, problem)


def test_windows_and_eager_attention_are_refused_and_copies_of_heads_are_not():
    cfg = Config(recipe="test")
    cfg.learner.sequence_parallel = 4
    config = LlamaConfig(hidden_size=768, num_attention_heads=12, num_key_value_heads=2)
    assert sequence_parallel_problems("model.path=x", config, cfg) == []
    config.sliding_window = 64
    assert "model.max_length to at most 64" in sequence_parallel_problems("model.path=x", config, cfg)[0]
    config.sliding_window, cfg.model.attention = 128, "eager"
    assert "model.attention=eager" in sequence_parallel_problems("model.path=x", config, cfg)[0]
