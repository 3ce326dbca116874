"""Faults of a weight push, planted on real senders and engines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from rlvr.sync.checksum import Checksums
from rlvr.sync.gloo import GlooChannel
from rlvr.sync.sender import CheckedSender, GlooSender, NamedTensors
from rlvr.sync.sent import Sent


def leave_out(sender: CheckedSender, name: str) -> None:
    """From now on the sender tells the engines of every parameter but this one, and sends only those."""
    inner: Any = sender._inner
    inner._infos = [info for info in inner._infos if info.name != name]

    def send(tensors: NamedTensors, version: int) -> Sent:
        return GlooSender.send(inner, lambda: (pair for pair in tensors() if pair[0] != name), version)

    inner.send = send


@contextmanager
def one_parameter_left_out(sender: CheckedSender, name: str) -> Iterator[None]:
    inner: Any = sender._inner
    infos = inner._infos
    leave_out(sender, name)
    try:
        yield
    finally:
        inner._infos = infos
        del inner.send


class LateChannel:
    """A worker's channel that hands on what came with the push before, while it is late."""

    def __init__(self, channel: GlooChannel) -> None:
        self._channel, self.late = channel, False
        self._last: list[list[tuple[str, torch.Tensor]]] = []

    def receive(self, plan: Any) -> Iterator[list[tuple[str, torch.Tensor]]]:
        now = [[(name, tensor.clone()) for name, tensor in bucket] for bucket in self._channel.receive(plan)]
        yield from self._last if self.late else now
        self._last = now


def make_late(worker: Any, late: bool) -> None:
    """Runs in a worker of vLLM."""
    transfer = worker.weight_transfer_engine
    if not isinstance(transfer._channel, LateChannel):
        transfer._channel = LateChannel(transfer._channel)
    transfer._channel.late = late


def drop_loads(worker: Any, drop: bool) -> None:
    """Runs in a worker of vLLM: what arrives is looked at and not loaded."""
    model = worker.model_runner.get_model()
    if drop:
        model.load_weights = lambda weights: {next(iter(dict(weights)))}
    else:
        del model.load_weights


def lose_copy(worker: Any) -> None:
    """Runs in a worker of vLLM: it no longer holds what it was sent."""
    worker.weight_transfer_engine.held.name = None


def copy_sums(worker: Any) -> dict[str, int]:
    """Runs in a worker of vLLM: checksums of the copy of what it was sent."""
    found = Checksums()
    list(found.noting(iter(worker.weight_transfer_engine.held.tensors.items())))
    return found.numbers()
