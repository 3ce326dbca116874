"""Real vLLM engines: what they record of truncated samples, what ends a response, and prompts beyond their budget."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from rlvr.config import SyncConfig
from rlvr.data.models.tokenizer import load_tokenizer
from rlvr.errors import MismatchError
from rlvr.rollout.engine_spec import logprobs_mode
from rlvr.rollout.sampling import Sampling
from rlvr.rollout.stop import Ends
from rlvr.sync.gate import check_mismatch
from rlvr.types import Batch
from tests.helpers.engine_rig import (
    WHOLE,
    Rig,
    batch_of,
    log_probs,
    requests_of,
    scored,
    small_llama,
    start_engine,
)
from tests.helpers.engine_specs import engine_spec
from tests.helpers.shared_processes import SharedProcesses

pytestmark = pytest.mark.e2e

CONTEXT = 4800  # longer than vLLM's own token budget on CPU, 4096
CACHE_MB = 2  # 8192 tokens, room for one full context and for some twenty of the prompts below


@pytest.fixture(scope="module")
def rig(processes: SharedProcesses, tmp_path_factory: pytest.TempPathFactory) -> Rig:
    """A small random model with a tied head, on an engine with a small cache that is to sample with truncation."""
    folder = tmp_path_factory.mktemp("model")
    model = small_llama(folder, CONTEXT)
    spec = engine_spec(
        model=str(folder),
        max_length=CONTEXT,
        kv_cache_mb=CACHE_MB,
        logprobs_mode=logprobs_mode(0.7, top_p=0.7, top_k=-1),
    )
    return Rig(start_engine(processes, spec), model.double().eval())


def outside(rows: list[torch.Tensor], batch: Batch, top_p: float, top_k: int) -> int:
    """How many of the tokens truncation should have kept out."""
    count = 0
    for row, ids, prompt in zip(rows, batch.input_ids, batch.prompt_lengths, strict=True):
        for own, token in zip(row, ids[prompt:], strict=True):
            above = own > own[token]
            count += bool(above.sum() >= top_k > 0 or own[above].exp().sum() > top_p + 1e-5)
    return count


@pytest.mark.parametrize(
    ("temperature", "top_p", "top_k"),
    [
        (1.0, 0.7, -1),
        (0.7, 0.7, -1),
        (0.8, 0.9, -1),
        (0.8, 1.0, 3),
        (1.5, 0.5, -1),
        (1.6, 0.3, -1),
        (1.6, 0.9, 5),
        (1.0, *WHOLE),
        (0.7, *WHOLE),
    ],
)
def test_truncated_samples_carry_the_log_probs_of_the_whole_distribution(
    rig: Rig, temperature: float, top_p: float, top_k: int
) -> None:
    requests = requests_of([5, 20, 40], samples=8)
    sampling = Sampling(temperature, top_p, top_k, max_tokens=40)
    batch = batch_of(requests, rig.generate(requests, sampling))
    rows = log_probs(rig.model, batch, temperature)
    assert check_mismatch(scored(batch, rows), 0, SyncConfig(), "float32", pytest.fail) < 1e-5
    assert outside(rows, batch, top_p, top_k) == 0
    if (top_p, top_k) != WHOLE:
        whole = batch_of(requests, rig.generate(requests, replace(sampling, top_p=1.0, top_k=-1)))
        assert outside(log_probs(rig.model, whole, temperature), whole, top_p, top_k) > 0

    final_norm = rig.model.model.norm.weight
    with torch.no_grad():
        final_norm.mul_(1.5)
        faulty = scored(batch, log_probs(rig.model, batch, temperature))
        final_norm.div_(1.5)
    with pytest.raises(MismatchError, match=r"sync\.mismatch_stop=0\.1"):
        check_mismatch(faulty, 0, SyncConfig(), "float32", lambda _: None)


def test_a_stop_text_or_token_ends_a_response_as_an_end_token_does(rig: Rig) -> None:
    tokenizer = load_tokenizer("builtin")
    requests, whole = requests_of([5, 20], samples=16), Sampling(1.0, *WHOLE, max_tokens=40)
    texts, tokens = ("=3", "th", "<|pad|>"), (9, 12)
    longer = rig.generate(requests, whole)
    ended = rig.generate(requests, replace(whole, ends=Ends(texts, tokens)))
    by_text = by_token = 0
    for uncut, cut in zip(longer, ended, strict=True):
        for a, b in zip(uncut.generations, cut.generations, strict=True):
            ids, kept = a.token_ids.tolist(), b.token_ids.tolist()
            text = tokenizer.decode(kept)
            stopped = any(stop in text for stop in texts), kept[-1] in tokens
            assert kept == ids[: len(kept)]  # what ends a response changes nothing of what was sampled before
            before = tokenizer.decode(kept[:-1])
            assert not any(stop in before for stop in texts)
            assert not set(kept[:-1]) & set(tokens)
            assert b.truncated == (not any(stopped) and kept[-1] != tokenizer.eos_token_id)
            assert not any(stopped) or not b.truncated
            assert any(stopped) or kept == ids
            by_text, by_token = by_text + stopped[0], by_token + stopped[1]
    assert by_text
    assert by_token

    batch = batch_of(requests, ended)
    rows = log_probs(rig.model, batch, 1.0)
    assert check_mismatch(scored(batch, rows), 0, SyncConfig(), "float32", pytest.fail) < 1e-5
    assert batch.tokens == sum(len(g.token_ids) for r in ended for g in r.generations)
    assert batch.in_loss.all()


def test_nothing_ends_a_response_before_its_least_number_of_tokens(rig: Rig) -> None:
    tokenizer = load_tokenizer("builtin")
    requests, tokens = requests_of([5, 20], samples=16), (9, 12)
    sampling = Sampling(1.0, *WHOLE, max_tokens=12, logprobs=False, ends=Ends(("=3", "th"), tokens, 8))
    responses = [g.token_ids.tolist() for r in rig.generate(requests, sampling) for g in r.generations]
    assert min(map(len, responses)) > 8
    assert not {*tokens, tokenizer.eos_token_id} & {token for ids in responses for token in ids[:8]}
    assert any(len(ids) < 12 for ids in responses)


def test_evaluation_on_the_same_engine_is_greedy_at_temperature_0(rig: Rig) -> None:
    requests = requests_of([5, 20, 40], samples=1)
    results = rig.generate(requests, Sampling(0.0, 1.0, -1, max_tokens=20, logprobs=False))
    batch = batch_of(
        requests,
        [replace(r, generations=(replace(r.generations[0], logprobs=np.zeros(20)),)) for r in results],
    )
    for row, ids, prompt in zip(
        log_probs(rig.model, batch, 1.0), batch.input_ids, batch.prompt_lengths, strict=True
    ):
        assert row.argmax(-1).tolist() == ids[prompt:].tolist()


def test_prompts_beyond_the_token_budget_and_preempted_requests(rig: Rig) -> None:
    """50 prompts x 2 of several hundred tokens, and one longer than the budget that vLLM would choose."""
    lengths = np.random.default_rng(1).integers(200, 700, 50).tolist()
    requests = [*requests_of(lengths), replace(requests_of([4500])[0], key="long")]
    sampling = Sampling(0.7, 0.9, -1, max_tokens=150)
    before = rig.preemptions()
    results = rig.generate(requests, sampling)
    assert rig.preemptions() > before
    batch = batch_of(requests, results)
    assert (
        check_mismatch(
            scored(batch, log_probs(rig.model, batch, 0.7)), 0, SyncConfig(), "float32", pytest.fail
        )
        < 1e-5
    )

    between = rig.preemptions()
    for i in (0, 25, 49):  # alone, nothing is preempted: neither order nor preemption changes what is sampled
        (alone,) = rig.generate(requests[i : i + 1], sampling)
        assert [g.token_ids.tolist() for g in alone.generations] == [
            g.token_ids.tolist() for g in results[i].generations
        ]
    assert rig.preemptions() == between
