"""Weights pushed to a real vLLM engine: in the middle of responses, only what has changed, and with faults."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from transformers import LlamaForCausalLM

from rlvr.config import Config, SyncConfig
from rlvr.errors import MismatchError, RemoteError, WeightsError
from rlvr.rollout.generation import Generation
from rlvr.rollout.sampling import Sampling
from rlvr.sync import last_push
from rlvr.sync.checksum import Checksums
from rlvr.sync.gate import check_mismatch
from rlvr.sync.gloo import ParamInfo
from rlvr.sync.patch import Bits, Patch, difference
from rlvr.sync.sender import CheckedSender, Sender, SparseSender, open_sender
from rlvr.sync.sent import Sent
from tests.helpers.engine_rig import (
    WHOLE,
    Rig,
    batch_of,
    crossed,
    in_flight,
    log_probs,
    requests_of,
    scored,
    small_llama,
    start_engine,
)
from tests.helpers.engine_specs import engine_spec
from tests.helpers.faulty_push import (
    copy_sums,
    drop_loads,
    lose_copy,
    make_late,
    one_parameter_left_out,
)
from tests.helpers.shared_processes import SharedProcesses

pytestmark = pytest.mark.e2e

CONTEXT = 512


@pytest.fixture(scope="module")
def rig(processes: SharedProcesses, tmp_path_factory: pytest.TempPathFactory) -> Rig:
    """A small random model with a tied head, on an engine that samples from the whole distribution."""
    folder = tmp_path_factory.mktemp("model")
    model = small_llama(folder, CONTEXT)
    spec = engine_spec(model=str(folder), max_length=CONTEXT, kv_cache_mb=2)
    return Rig(start_engine(processes, spec), model.double().eval())


@pytest.fixture(scope="module")
def sender(rig: Rig) -> Sender:
    """Pushes weights as a learner does."""
    infos = [ParamInfo(name, "float32", tuple(p.shape)) for name, p in rig.model.named_parameters()]
    return open_sender(Config(recipe="test"), [rig.engine], rank=0, infos=infos, device="cpu")


def push(sender: Sender, model: LlamaForCausalLM, version: int) -> Sent | None:
    return sender.send(lambda: ((n, p.detach().float()) for n, p in model.named_parameters()), version)


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
