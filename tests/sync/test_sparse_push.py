"""Sparse pushes from the learner's sender to two workers over gloo on the loopback interface, engines left out."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

from rlvr.config import Config
from rlvr.errors import WeightsError
from rlvr.sync import last_push, sender
from rlvr.sync.checksum import Checksums, LoadedWeights
from rlvr.sync.gloo import GlooChannel, ParamInfo, plan_buckets
from rlvr.sync.held import HeldCopy
from rlvr.sync.patch import Bits, Patch, difference
from rlvr.sync.sender import CheckedSender, GlooSender, SparseSender
from rlvr.sync.sent import Sent

SHAPES = {"embed": (40, 8), "norm": (8,), "scale": (), "empty": (0, 4), "head": (8, 40)}
Tensors = dict[str, torch.Tensor]
FIRST = "it is the first push over this connection"
CERTAIN = "it is not certain that the engines hold the last push"
OTHER = "an engine does not hold the last push"
LARGE = "what has changed would take no fewer bytes"


class Worker:
    """What an engine's worker does in an update; "the model" is the values that it was given to load."""

    def __init__(self, info: dict[str, Any], rank: int) -> None:
        self.channel = GlooChannel(info["host"], info["port"], rank, info["world_size"], 20)
        self.bucket_bytes, self.held = info["bucket_bytes"], HeldCopy()
        self.model, self.sums = Tensors(), Checksums()

    def update(self, update: dict[str, Any]) -> None:
        self.sums = Checksums()
        fields = zip(update["names"], update["dtypes"], update["shapes"], strict=True)
        params = [ParamInfo(name, dtype, tuple(shape)) for name, dtype, shape in fields]
        buckets = self.channel.receive(plan_buckets(params, self.bucket_bytes))
        copy, base = update.get("copy"), update.get("base")
        if base is None:
            self.held.load_whole(buckets, self.load, copy)
        else:
            self.held.load_changes(buckets, self.load, copy, base, update["starts"])

    def load(self, tensors: Iterator[tuple[str, torch.Tensor]]) -> None:
        self.model |= {name: tensor.clone() for name, tensor in self.sums.noting(tensors)}


class Client:
    """Calls two workers as `EngineClient` calls engines in their actors."""

    workers = 2

    def __init__(self) -> None:
        self.version, self.loaded = 0, list[LoadedWeights]()
        self.made: list[Worker] = []
        self.pool = ThreadPoolExecutor(2)

    def init_weight_transfer_engine(self, info: dict[str, Any]) -> None:
        self.made = list(self.pool.map(lambda rank: Worker(info, rank), (1, 2)))

    def held_copies(self) -> set[str | None]:
        return {worker.held.name for worker in self.made}

    def start_weight_update(self) -> None:
        pass

    def update_weights(self, update: dict[str, Any]) -> None:
        list(self.pool.map(lambda worker: worker.update(update), self.made))

    def finish_weight_update(self) -> None:
        for worker in self.made:
            worker.held.in_use()
        self.loaded = [LoadedWeights(self.version, (worker.sums.numbers(),)) for worker in self.made]


class Rig:
    """A learner with bf16 parameters and two workers."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(1)
        self.weights = {n: torch.randn(s, generator=generator).bfloat16() for n, s in SHAPES.items()}
        self.client: Any = Client()
        self.infos = [ParamInfo(name, "bfloat16", shape) for name, shape in SHAPES.items()]
        self.whole = GlooSender(self.client, self.infos, Config(recipe="test"))
        self.sparse = self.sender()
        self.version = 0

    def sender(self, *, sparse: bool = True) -> CheckedSender:
        inner = SparseSender(self.whole, self.client, self.infos) if sparse else self.whole
        return CheckedSender(inner, self.client, self.infos)

    def push(self, by: CheckedSender | None = None) -> Sent:
        self.version += 1
        sent = (by or self.sparse).send(lambda: iter(self.weights.items()), self.version)
        assert sent is not None
        for worker in self.client.made:
            assert worker.model.keys() == self.weights.keys()
            assert all(torch.equal(worker.model[n], t) for n, t in self.weights.items())
        return sent

    def move(self, *names: str) -> None:
        """Change one element of each of these parameters."""
        for name in names:
            self.weights[name].view(-1)[-1:] += 1


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    monkeypatch.setattr(sender, "node_address", lambda: "127.0.0.1")
    monkeypatch.setattr(last_push, "PIECE", 64)
    return Rig()


def test_only_what_has_changed_travels(rig: Rig) -> None:
    elements = sum(t.numel() for t in rig.weights.values())
    first = rig.push()
    assert (first.whole, first.bytes, first.changed, first.why) == (True, 2 * elements, None, FIRST)
    assert rig.push() == Sent(0, whole=False, changed=0.0)
    rig.move("embed", "scale", "head")
    assert rig.push() == Sent(3 * (16 + 2 + 1), whole=False, changed=3 / elements)
    for tensor in rig.weights.values():
        tensor.neg_()
    assert rig.push() == Sent(2 * elements, changed=1.0, why=LARGE)
    rig.move("norm")
    assert not rig.push().whole


def test_everything_is_sent_where_a_worker_may_not_hold_the_last_push(rig: Rig) -> None:
    rig.push()
    rig.client.made[1].held.name = None  # it has lost its copy
    assert rig.push().why == OTHER
    rig.push(rig.sender(sparse=False))  # somebody else has sent something: copies are dropped
    assert not any(worker.held.tensors for worker in rig.client.made)
    assert rig.push().why == OTHER
    rig.sparse.forget()
    assert rig.push().why == CERTAIN
    assert rig.push(rig.sender()).why == FIRST  # the learner has connected anew
    assert rig.push().why == OTHER
    rig.move("head")
    assert not rig.push().whole


def test_a_changed_element_that_is_not_sent_ends_the_push(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.push()

    def faulty(old: Bits, new: Bits) -> Patch:
        patch = difference(old, new)
        return Patch(patch.index[:-1], patch.value[:-1])

    monkeypatch.setattr(last_push, "difference", faulty)
    rig.move("head")
    with pytest.raises(WeightsError, match=r"version 2 .*engine-0: other values in head\. engine-1: other"):
        rig.push()


def test_a_push_that_fails_leaves_nothing_to_build_on(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.push()
    rig.move("embed")
    with monkeypatch.context() as patched:
        patched.setattr(rig.client, "start_weight_update", lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            rig.push()
    assert rig.push().why == CERTAIN


def test_changes_of_another_push_are_refused() -> None:
    held = HeldCopy()
    held.load_whole([[("a", torch.zeros(3))]], list, "one")
    with pytest.raises(WeightsError, match="since push one, and holds None"):  # not in use yet
        held.load_changes([], list, "two", "one", [])
    held.in_use()
    with pytest.raises(WeightsError, match="since push zero, and holds one"):
        held.load_changes([], list, "two", "zero", [])
