"""Prompts computed once for their samples, against whole sequences: hidden states, log-probs and gradients."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig, MambaConfig, Qwen3NextConfig

from rlvr.config import Config
from rlvr.learner.model.policy import PolicyModel
from rlvr.learner.model.shared_prompts import share_prompts_problems, shared_hidden, take_apart
from rlvr.learner.packing import MicroBatch, micro_batch
from tests.helpers.families import FAMILIES, small_lm
from tests.helpers.learner_cases import random_batch
from tests.helpers.models import random_model
from tests.helpers.records import VOCABULARY
from tests.helpers.records import random_batch as responses_of


def micro_of(sequences: int, seed: int, shared: bool = True) -> MicroBatch:
    batch = random_batch(sequences, seed, shared=shared)
    return micro_batch(batch, np.random.default_rng(seed).permutation(sequences))


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_log_probs_and_gradients_are_those_of_whole_sequences(family: str) -> None:
    lm, micro = small_lm(family), micro_of(13, seed=1)
    upstream = torch.randn(len(micro.target), generator=torch.Generator().manual_seed(2))
    found = []
    for share in (False, True):
        policy = PolicyModel(lm, temperature=0.8, share_prompts=share)
        lm.zero_grad()
        logp = policy(micro)
        (logp * upstream).sum().backward()
        found.append(
            (logp.detach(), {n: p.grad.clone() for n, p in lm.named_parameters() if p.grad is not None})
        )
    (whole, whole_grads), (parts, parts_grads) = found
    torch.testing.assert_close(parts, whole, atol=1e-5, rtol=0)
    assert whole_grads.keys() == parts_grads.keys()
    for name, gradient in whole_grads.items():
        assert (parts_grads[name] - gradient).norm() <= 1e-5 * gradient.norm() + 1e-8, name


@pytest.mark.slow
@given(st.integers(4, 9), st.integers(0, 50))
def test_prompts_and_responses_put_together_again_are_the_sequences(sequences: int, seed: int) -> None:
    micro = micro_of(sequences, seed)
    parts = take_apart(micro)
    assert len(torch.unique(parts.prompts, dim=0)) == len(parts.prompts)
    for token, (row, place) in enumerate(zip(parts.row.tolist(), parts.place.tolist(), strict=True)):
        prompt = parts.prompts[parts.prompt[row]][parts.known[parts.prompt[row]].bool()]
        before = torch.cat([prompt, parts.rest[row, :place]])
        k, column = micro.row[token], micro.column[token]
        assert before.tolist() == micro.input_ids[k, : column + 1].tolist()


@pytest.mark.parametrize("longest", [1, 4])
def test_learned_positions_are_those_of_whole_sequences(longest: int) -> None:
    """Prompts of several lengths, of which the shorter are padded where there is no position, and short responses."""
    lm = random_model(
        "gpt2", vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=12, initializer_range=0.3
    )
    batch = responses_of([2, 2, 6, 6, 6], [1, longest, 1, 1, longest])
    ids = [i.copy() for i in batch.input_ids]
    ids[1][:2], ids[3][:6], ids[4][:6] = ids[0][:2], ids[2][:6], ids[2][:6]
    micro = micro_batch(replace(batch, input_ids=tuple(ids)), np.arange(5))
    parts = take_apart(micro)
    assert parts.prompts.shape == (2, 6)
    assert parts.rest.shape == (5, longest - 1)
    with torch.no_grad():
        whole = lm.transformer(input_ids=micro.input_ids).last_hidden_state[micro.row, micro.column]
        found = shared_hidden(lm.base_model, micro)
    assert found is not None
    torch.testing.assert_close(found, whole, atol=1e-5, rtol=0)


def test_where_there_is_no_response_or_nothing_is_shared_the_plain_path_is_taken() -> None:
    nothing = micro_batch(responses_of([2, 2], [0, 0]), np.arange(2))
    assert shared_hidden(None, nothing) is None
    assert shared_hidden(None, micro_of(5, seed=0, shared=False)) is None


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (LlamaConfig(auto_map={"AutoModelForCausalLM": "mine.Model"}), "its own code"),
        (Qwen3NextConfig(), "linear_attention"),
        (MambaConfig(), "mamba"),
    ],
)
def test_models_that_keep_no_keys_and_values_are_refused(config: Any, reason: str) -> None:
    cfg = Config()
    assert share_prompts_problems("model.path=mine", config, cfg) == []
    cfg.learner.share_prompts = True
    [problem] = share_prompts_problems("model.path=mine", config, cfg)
    assert reason in problem
    assert share_prompts_problems("model.path=mine", LlamaConfig(), cfg) == []


def test_with_checkpointed_activations_only_scoring_shares() -> None:
    lm, micro = small_lm("llama"), micro_of(8, seed=3)
    whole = PolicyModel(lm, 1.0)(micro)
    lm.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    policy = PolicyModel(lm, 1.0, share_prompts=True)
    policy.train()
    lm.gradient_checkpointing_disable()
    assert not torch.equal(policy(micro), whole)  # where activations are kept, training shares as well
    lm.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    torch.testing.assert_close(policy(micro), whole, atol=0, rtol=0)
    policy.eval()
    shared = policy(micro)
    torch.testing.assert_close(shared, whole, atol=1e-5, rtol=0)
    assert not torch.equal(shared, whole)  # another path was taken
