"""Real vLLM engines: what they record of truncated samples, what ends a response, and prompts beyond their budget."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaForCausalLM

from rlvr.config import Config, SyncConfig
from rlvr.data.models.tokenizer import load_tokenizer
from rlvr.errors import MismatchError, RemoteError, WeightsError
from rlvr.rollout.engine_spec import logprobs_mode
from rlvr.rollout.generation import Generation
from rlvr.rollout.sampling import Sampling
from rlvr.rollout.stop import Ends
from rlvr.sync import last_push
from rlvr.sync.checksum import Checksums
from rlvr.sync.gate import check_mismatch
from rlvr.sync.gloo import ParamInfo
from rlvr.sync.patch import Bits, Patch, difference
from rlvr.sync.sender import CheckedSender, Sender, SparseSender, open_sender
from rlvr.sync.sent import Sent
from rlvr.types import Batch
from tests.helpers.engine_rig import (
    WHOLE,
    Rig,
    batch_of,
    crossed,
    engine_spec,
    in_flight,
    log_probs,
    requests_of,
    scored,
    small_llama,
    start_engine,
)
from tests.helpers.faulty_push import (
    copy_sums,
    drop_loads,
    lose_copy,
    make_late,
    one_parameter_left_out,
)
from tests.helpers.shared_processes import SharedProcesses

pytestmark = pytest.mark.e2e

CONTEXT = 4800  # longer than vLLM's own token budget on CPU, 4096
CACHE_MB = 2  # 8192 tokens, room for one full context and for some twenty of the prompts below


@pytest.fixture(scope="module")
def sender(rig: Rig) -> Sender:
    """Pushes weights as a learner does."""
    infos = [ParamInfo(name, "float32", tuple(p.shape)) for name, p in rig.model.named_parameters()]
    return open_sender(Config(recipe="test"), [rig.engine], rank=0, infos=infos, device="cpu")


def push(sender: Sender, model: LlamaForCausalLM, version: int) -> Sent | None:
    return sender.send(lambda: ((n, p.detach().float()) for n, p in model.named_parameters()), version)


@pytest.fixture(scope="module")
def rig(processes: SharedProcesses, tmp_path_factory: pytest.TempPathFactory) -> Rig:
    """A small random model with a tied head, on an engine with a small cache that is to sample with truncation."""
    folder = tmp_path_factory.mktemp("model")
    model = small_llama(folder, CONTEXT)
    spec = engine_spec(
        folder,
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


def test_new_weights_in_the_middle_of_responses(rig: Rig, sender: Sender) -> None:
    """Every token carries the version that sampled it and that model's log-prob; only kept keys and values mix two."""
    other = copy.deepcopy(rig.model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.1)
    models = {1: rig.model, 2: other, 3: rig.model, 4: other}
    push(sender, rig.model, 1)
    for before, mode in ((1, "recompute"), (2, "keep")):
        rig.inside(lambda engine, mode=mode: setattr(engine, "_on_update", mode))
        requests, found = in_flight(rig)
        push(sender, models[before + 1], before + 1)
        found = rig.finish(found)
        assert crossed(requests, found, models[before], models[before + 1], before, mode) > 4


def test_the_same_weights_in_the_middle_change_no_token(rig: Rig, sender: Sender) -> None:
    """Also after the keys and values were computed again: random numbers go on where they were."""
    rig.inside(lambda engine: setattr(engine, "_on_update", "recompute"))
    push(sender, rig.model, 5)
    requests, found = in_flight(rig)
    whole = rig.finish(found)
    _, found = in_flight(rig)
    push(sender, rig.model, 6)
    again = rig.finish(found)
    assert any(len(own.spans) == 2 for own in again.values())
    for request in requests:
        assert again[request.key].token_ids.tolist() == whole[request.key].token_ids.tolist()


def test_weights_do_not_arrive_under_responses_that_are_to_be_finished_first(
    rig: Rig, sender: Sender
) -> None:
    rig.inside(lambda engine: setattr(engine, "_on_update", "wait"))
    _, found = in_flight(rig)
    with pytest.raises(RemoteError, match="requests were still running"):
        push(sender, rig.model, 7)
    rig.finish(found)
    push(sender, rig.model, 7)


MODES = ("wait", "recompute", "keep")  # the first without, the others with responses in flight


@pytest.fixture
def between(rig: Rig, sender: Sender, request: pytest.FixtureRequest) -> Iterator[dict[str, Generation]]:
    """An engine with weights 10 in this mode, in the middle of responses where the mode allows it; sound afterwards."""
    rig.inside(lambda engine, mode=request.param: setattr(engine, "_on_update", mode))
    push(sender, rig.model, 10)
    yield {} if request.param == "wait" else in_flight(rig)[1]
    rig.finish({})
    push(sender, rig.model, 12)


def moved(model: LlamaForCausalLM) -> LlamaForCausalLM:
    """The model after a small step."""
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1 + 1e-6)
    return other


@pytest.mark.usefixtures("between")
@pytest.mark.parametrize("between", MODES, indirect=True)
def test_a_parameter_that_was_not_sent_is_found_in_that_push(rig: Rig, sender: CheckedSender) -> None:
    name = "model.layers.0.input_layernorm.weight"
    with (
        one_parameter_left_out(sender, name),
        pytest.raises(
            WeightsError, match=rf"version 11 .*engine-0: not received {name}; kept the old values of {name}"
        ),
    ):
        push(sender, moved(rig.model), 11)


@pytest.mark.usefixtures("between")
@pytest.mark.parametrize("between", MODES, indirect=True)
def test_an_engine_one_version_behind_is_found_in_that_push(rig: Rig, sender: Sender) -> None:
    rig.in_worker(make_late, False)
    push(sender, rig.model, 10)
    rig.in_worker(make_late, True)
    with pytest.raises(
        WeightsError, match=r"version 11 .*engine-0: other values in .* and \d+ more parameters\."
    ):
        push(sender, moved(rig.model), 11)
    rig.in_worker(make_late, False)
    rig.in_worker(drop_loads, True)  # as if nothing had come at all
    with pytest.raises(WeightsError, match=r"version 11 .*kept the old values of "):
        push(sender, moved(rig.model), 11)
    rig.in_worker(drop_loads, False)


@pytest.mark.usefixtures("between")
@pytest.mark.parametrize("between", MODES[:2], indirect=True)  # keep goes on with old keys and values
def test_a_prefix_cache_that_was_not_reset_is_found_in_that_push(rig: Rig, sender: Sender) -> None:
    rig.generate(requests_of([400]), Sampling(1.0, *WHOLE, max_tokens=2))  # more than a block
    rig.inside(lambda engine: setattr(engine._llm, "reset_prefix_cache", lambda **_: True))
    with pytest.raises(RemoteError, match=r"kept \d+ blocks of keys and values of weight version 10"):
        push(sender, moved(rig.model), 11)
    rig.inside(lambda engine: delattr(engine._llm, "reset_prefix_cache"))


def sends_changes(sender: CheckedSender) -> CheckedSender:
    """A sender of what has changed, over the channel of one that sends everything: it has not pushed yet."""
    inner: Any = sender._inner
    return CheckedSender(SparseSender(inner, sender._client, inner._infos), sender._client, inner._infos)


@pytest.fixture
def sparse(rig: Rig, sender: CheckedSender) -> Iterator[CheckedSender]:
    """One that has pushed the model's weights to the engine once."""
    rig.inside(lambda engine: setattr(engine, "_on_update", "wait"))
    made = sends_changes(sender)
    first = push(made, rig.model, 20)
    assert first is not None
    assert (first.whole, first.changed) == (True, None)
    yield made
    push(sender, rig.model, 30)


def nudged(model: LlamaForCausalLM) -> tuple[LlamaForCausalLM, float]:
    """The model with a few elements of every second parameter moved far, and their share of all."""
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in list(other.parameters())[::2]:
            parameter.view(-1)[::97] += 0.5
    pairs = [(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True)]
    return other, sum(int((a != b).sum()) for a, b in pairs) / sum(a.numel() for a, _ in pairs)


def test_an_engine_that_is_sent_what_has_changed_has_the_learners_weights(
    rig: Rig, sender: CheckedSender, sparse: CheckedSender
) -> None:
    other, share = nudged(rig.model)
    sent = push(sparse, other, 21)
    assert sent is not None
    assert (sent.whole, sent.changed) == (False, pytest.approx(share))
    assert 0 < sent.bytes < 0.05 * sum(4 * p.numel() for p in other.parameters())
    own = Checksums()
    list(own.noting((n, p.detach().float()) for n, p in other.named_parameters()))
    assert rig.inside(lambda engine: engine._llm.collective_rpc(copy_sums)) == [own.numbers()]

    requests, sampling = requests_of([5, 20, 40], samples=4), Sampling(1.0, *WHOLE, max_tokens=30)
    results = rig.generate(requests, sampling)
    batch = batch_of(requests, results)
    assert (batch.weight_version == 21).all()
    current = scored(batch, log_probs(other, batch, 1.0))
    assert check_mismatch(current, 21, SyncConfig(), "float32", pytest.fail) < 1e-5
    with pytest.raises(MismatchError):  # the old weights are others by far
        check_mismatch(scored(batch, log_probs(rig.model, batch, 1.0)), 21, SyncConfig(), "float32", print)

    push(sender, other, 22)  # all of the same weights: not a bit changes
    for before, after in zip(results, rig.generate(requests, sampling), strict=True):
        for a, b in zip(before.generations, after.generations, strict=True):
            assert a.token_ids.tolist() == b.token_ids.tolist()
            assert a.logprobs.tolist() == b.logprobs.tolist()


def test_a_changed_element_that_was_not_sent_is_found_in_that_push(
    rig: Rig, sparse: CheckedSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [name for name, _ in rig.model.named_parameters()][::2]
    calls = 0

    def faulty(old: Bits, new: Bits) -> Patch:
        nonlocal calls
        calls += 1
        patch = difference(old, new)
        return Patch(patch.index[:-1], patch.value[:-1]) if calls == 2 else patch

    monkeypatch.setattr(last_push, "difference", faulty)
    with pytest.raises(WeightsError, match=rf"version 21 .*engine-0: other values in {names[1]}\. Nothing"):
        push(sparse, nudged(rig.model)[0], 21)


def test_everything_is_sent_where_the_engine_may_not_hold_the_last_push(
    rig: Rig, sender: CheckedSender, sparse: CheckedSender
) -> None:
    """Each whole push is verified like every other; after it, what has changed is enough again."""
    other, _ = nudged(rig.model)

    def sent(model: LlamaForCausalLM, by: CheckedSender = sparse) -> tuple[bool, str]:
        found = push(by, model, 23)
        assert found is not None
        return found.whole, found.why

    enough = (False, "")
    assert sent(rig.model) == enough  # nothing at all
    assert sent(other) == enough
    rig.in_worker(lose_copy)
    assert sent(rig.model) == (True, "an engine does not hold the last push")
    assert sent(other) == enough
    push(sender, rig.model, 24)  # by somebody else
    assert sent(rig.model) == (True, "an engine does not hold the last push")
    sparse.forget()
    assert sent(rig.model) == (True, "it is not certain that the engines hold the last push")
    assert sent(other) == enough
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.1)
    assert sent(other) == (True, "what has changed would take no fewer bytes")
    assert sent(other) == enough
    reconnected = sends_changes(sender)  # as the learner does once an engine has started again
    assert sent(other, reconnected) == (True, "it is the first push over this connection")
    assert sent(other) == (True, "an engine does not hold the last push")
