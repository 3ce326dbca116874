"""Ranks that share sequences: the same numbers as one rank, and models that cannot be shared are refused."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import distributed as dist
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    GPT2Config,
    LlamaConfig,
    MambaConfig,
    Phi3Config,
    Qwen3NextConfig,
)

from rlvr.config import Config
from rlvr.errors import ConfigError
from rlvr.learner.model.ulysses import (
    SequenceShards,
    exchanged_attention,
    join_sequence_shards,
    sequence_parallel_problems,
)
from rlvr.learner.packing import MicroBatch, micro_batch, sequence_shard
from rlvr.learner.scoring import STATISTIC
from rlvr.learner.update import TokenOutputs
from tests.helpers.models import random_model
from tests.helpers.probes import run_probe
from tests.helpers.records import VOCABULARY, random_batch

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
        (
            LlamaConfig(hidden_size=768, num_attention_heads=12, num_key_value_heads=4),
            8,
            "12 attention heads and 4 of keys and values",
        ),
        (GPT2Config(n_head=12), 5, "12 attention heads"),
        (
            Phi3Config(
                pad_token_id=0,
                rope_parameters={
                    "rope_type": "longrope",
                    "rope_theta": 100.0,
                    "short_factor": [1.0] * 48,
                    "long_factor": [2.0] * 48,
                },
            ),
            2,
            "rotary embeddings of the kind longrope",
        ),
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
    for window, problems in ((cfg.model.max_length - 1, 1), (cfg.model.max_length, 0)):
        config.sliding_window = window
        assert len(sequence_parallel_problems("model.path=x", config, cfg)) == problems
    config.sliding_window, cfg.model.attention = 128, "eager"
    assert "model.attention=eager" in sequence_parallel_problems("model.path=x", config, cfg)[0]


def test_a_model_without_attention_has_no_heads_to_share():
    cfg = Config(recipe="test")
    cfg.learner.sequence_parallel = 2
    heads, layers = sequence_parallel_problems("model.path=x", MambaConfig(), cfg)
    assert re.search(r" 0 attention heads .*; use one of \[1\]$", heads)
    assert "layers of the kind mamba" in layers


class Ranks:
    """Collectives of ranks that are threads of one process: each leaves its part, and takes what the others left."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, ranks: int) -> None:
        self.ranks = ranks
        self._own = threading.local()
        self._left: list[torch.Tensor] = [torch.empty(0)] * ranks
        self._barrier = threading.Barrier(ranks, timeout=60)
        monkeypatch.setattr(dist, "all_to_all_single", self._all_to_all)
        monkeypatch.setattr(dist, "all_reduce", self._all_reduce)

    def run(self, of_rank: Callable[[int], Any]) -> list[Any]:
        """What every rank returns."""

        def start(rank: int) -> Any:
            self._own.rank = rank
            try:
                return of_rank(rank)
            except BaseException:
                self._barrier.abort()
                raise

        with ThreadPoolExecutor(self.ranks) as pool:
            return [future.result() for future in [pool.submit(start, rank) for rank in range(self.ranks)]]

    def _exchange(self, part: torch.Tensor) -> list[torch.Tensor]:
        self._left[self._own.rank] = part.detach().clone()
        self._barrier.wait()
        left = list(self._left)
        self._barrier.wait()
        return left

    def _all_to_all(self, got: torch.Tensor, sent: torch.Tensor, group: object) -> None:
        assert group is GROUP
        assert got.is_contiguous()
        assert sent.is_contiguous()
        got.copy_(torch.stack([part[self._own.rank] for part in self._exchange(sent)]))

    def _all_reduce(self, part: torch.Tensor, group: object) -> None:
        assert group is GROUP
        part.copy_(torch.stack(self._exchange(part)).sum(0))


GROUP: Any = object()  # of the ranks that share sequences


def causal(module: Any, query: Any, key: Any, value: Any, mask: object, scaling: float) -> tuple[Any, str]:
    """torch's own attention, as models of transformers call one."""
    assert mask is None
    output = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, is_causal=True, scale=scaling, enable_gqa=True
    )
    return output.transpose(1, 2), module


@pytest.mark.parametrize(
    ("ranks", "heads", "shared"), [(2, 4, 2), (3, 6, 3), (3, 6, 1), (4, 8, 2), (2, 2, 2)]
)
def test_attention_and_its_gradients_are_those_of_whole_sequences(monkeypatch, ranks, heads, shared):
    """In float64, with values of another width than queries."""
    generator = torch.Generator().manual_seed(ranks + heads)
    batch, columns = 2, 5

    def draw(heads: int, width: int) -> torch.Tensor:
        return torch.randn(batch, heads, columns * ranks, width, generator=generator, dtype=torch.float64)

    whole = [
        draw(heads, 3).requires_grad_(),
        draw(shared, 3).requires_grad_(),
        draw(shared, 4).requires_grad_(),
    ]
    slope = draw(heads, 4).transpose(1, 2)
    expected, _ = causal(None, *whole, None, scaling=0.3)
    wanted = torch.autograd.grad(expected, whole, slope)

    def of_rank(rank: int) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        own = [states[:, :, rank::ranks].detach().requires_grad_() for states in whole]
        output, weights = exchanged_attention(
            causal, GROUP, ranks, "module", *own, "its mask", position_ids="its own", scaling=0.3
        )
        assert weights == "module"
        return output.detach(), torch.autograd.grad(output, own, slope[:, rank::ranks])

    for rank, (output, gradients) in enumerate(Ranks(monkeypatch, ranks).run(of_rank)):
        torch.testing.assert_close(output, expected[:, rank::ranks].detach(), rtol=0, atol=1e-12)
        for gradient, of_whole in zip(gradients, wanted, strict=True):
            torch.testing.assert_close(gradient, of_whole[:, :, rank::ranks], rtol=0, atol=1e-12)


def shards(rank: int, ranks: int) -> SequenceShards:
    return SequenceShards(GROUP, rank, ranks)


@pytest.mark.parametrize("ranks", [2, 3])
def test_every_rank_has_the_outputs_of_all_and_the_gradients_of_its_own_tokens(monkeypatch, ranks):
    batch = random_batch([3, 1, 4], [5, 2, 7])
    micro = micro_batch(batch, np.asarray([2, 0, 1]))
    slopes = torch.randn(3, len(micro.target), generator=torch.Generator().manual_seed(1))

    def of_rank(rank: int) -> Any:
        leaf = torch.linspace(1, 2, batch.tokens).requires_grad_()  # a parameter of each token of the batch

        def forward(part: MicroBatch) -> TokenOutputs:
            assert part.token.tolist() == shards(rank, ranks).own(micro).token.tolist()
            own = leaf[part.token]
            return TokenOutputs(own.log(), own**2, own**3)

        outputs = shards(rank, ranks).whole(forward)(micro)
        found = [outputs.logp, outputs.entropy, outputs.divergence]
        (gradient,) = torch.autograd.grad(found, leaf, [*slopes])
        alone = shards(rank, ranks).whole(lambda part: leaf[part.token].log())(micro)
        assert alone.entropy is None
        assert alone.divergence is None
        return [value.detach() for value in found], gradient, alone.logp.detach()

    of_each = torch.linspace(1, 2, batch.tokens)[micro.token]
    total = torch.zeros(batch.tokens)
    for values, gradient, alone in Ranks(monkeypatch, ranks).run(of_rank):
        expected = [of_each.log(), of_each**2, of_each**3, of_each.log()]
        for value, wanted in zip([*values, alone], expected, strict=True):
            torch.testing.assert_close(value, wanted, rtol=0, atol=0)
        assert not (total.bool() & gradient.bool()).any()
        total += gradient
    wanted = torch.zeros(batch.tokens)
    wanted[micro.token] = slopes[0] / of_each + slopes[1] * 2 * of_each + slopes[2] * 3 * of_each**2
    torch.testing.assert_close(total, wanted)


@pytest.mark.parametrize(("ranks", "shared"), [(2, 1), (4, 2), (3, 12)])
def test_a_model_on_its_columns_has_the_hidden_states_of_whole_sequences(monkeypatch, ranks, shared):
    keys = {"vocab_size": VOCABULARY, "hidden_size": 48, "intermediate_size": 24, "num_attention_heads": 12}
    lm = random_model("llama", num_key_value_heads=shared, initializer_range=0.3, **keys)
    ids = torch.randint(0, VOCABULARY, (2, 4 * ranks), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        expected = lm.model(input_ids=ids, use_cache=False).last_hidden_state
    shards(0, ranks).attend(lm, "model.path=mine")
    groups = {
        module.num_key_value_groups for module in lm.modules() if hasattr(module, "num_key_value_groups")
    }
    assert groups == {12 // ranks // max(1, shared // ranks)}  # of its own queries to its own keys

    def of_rank(rank: int) -> torch.Tensor:
        places = torch.arange(rank, ids.shape[1], ranks)[None]
        with torch.no_grad():
            return lm.model(input_ids=ids[:, rank::ranks], position_ids=places, use_cache=False)[0]

    try:
        for rank, found in enumerate(Ranks(monkeypatch, ranks).run(of_rank)):
            torch.testing.assert_close(found, expected[:, rank::ranks], rtol=0, atol=1e-5)
    finally:
        SequenceShards().attend(lm, "model.path=mine")  # the tables are the process's
    again = random_model("llama", num_key_value_heads=shared, initializer_range=0.3, **keys)
    with torch.no_grad():
        torch.testing.assert_close(again.model(input_ids=ids)[0], expected, rtol=0, atol=0)


def test_a_model_whose_attention_or_positions_cannot_be_given_is_refused(monkeypatch):
    bloom = BloomForCausalLM(BloomConfig(vocab_size=8, hidden_size=8, n_layer=1, n_head=2))
    said = r"learner\.sequence_parallel=2: model\.path=mine does not take its attention and positions"
    with pytest.raises(ConfigError, match=said):
        shards(0, 2).attend(bloom, "model.path=mine")
    lm = random_model("llama", vocab_size=8, hidden_size=16, intermediate_size=8)
    with monkeypatch.context() as patch:
        patch.setattr(type(lm), "_can_set_attn_implementation", lambda *_: False)
        with pytest.raises(ConfigError, match=said):
            shards(0, 2).attend(lm, "model.path=mine")
    monkeypatch.setattr(lm.base_model, "forward", lambda input_ids: None)
    with pytest.raises(ConfigError, match=said):
        shards(0, 2).attend(lm, "model.path=mine")


def test_neighbours_share_sequences(monkeypatch):
    made: list[tuple[int, ...]] = []

    def new_group(members: list[int], timeout: timedelta) -> tuple[int, ...]:
        assert timeout == timedelta(seconds=7)
        made.append(tuple(members))
        return tuple(members)

    monkeypatch.setattr(dist, "new_group", new_group)
    assert join_sequence_shards(3, 4, 1, 7) == SequenceShards()
    assert not made
    for rank in range(6):
        made.clear()
        found = join_sequence_shards(rank, 6, 3, 7)
        assert made == [(0, 1, 2), (3, 4, 5)]  # on every rank: making a group is a collective
        assert found == SequenceShards(made[rank // 3], rank % 3, 3)
    alone = micro_batch(random_batch([2], [3]), np.arange(1))
    assert SequenceShards().own(alone) is alone
    assert SequenceShards().whole(len) is len
