"""Bucketed broadcast of parameters over gloo: the transport of the CPU path, used by both sides.

Imports neither vLLM nor Ray. Rank 0 is the learner that sends; ranks 1.. are the engines' workers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import Any

import torch
import torch.distributed as dist

from rlvr.errors import ActorError


class SyncError(ActorError):
    """A weight transfer failed or ran past its deadline; the message names rank, phase and parameter."""


@dataclass(frozen=True, slots=True)
class ParamInfo:
    """What travels under one name."""

    name: str
    dtype: str  # as in torch, e.g. "float32"
    shape: tuple[int, ...]

    @property
    def torch_dtype(self) -> torch.dtype:
        return getattr(torch, self.dtype)

    @property
    def numel(self) -> int:
        return int(torch.Size(self.shape).numel())

    @property
    def nbytes(self) -> int:
        return self.numel * self.torch_dtype.itemsize


def plan_buckets(params: Sequence[ParamInfo], bucket_bytes: int) -> list[list[ParamInfo]]:
    """Split the parameters, in order, into buckets of one dtype and at most `bucket_bytes`.

    A parameter larger than a bucket gets one of its own. Both sides derive the same plan from the same list.
    """
    buckets: list[list[ParamInfo]] = []
    room = 0
    for param in params:
        fits = buckets and param.dtype == buckets[-1][0].dtype and param.nbytes <= room
        if not fits:
            buckets.append([])
            room = bucket_bytes
        buckets[-1].append(param)
        room -= param.nbytes
    return buckets


def as_announced(
    tensors: Iterable[tuple[str, torch.Tensor]], params: Sequence[ParamInfo]
) -> Iterator[tuple[ParamInfo, torch.Tensor]]:
    """Each parameter with its tensor, which must come in this order.

    Raises:
        SyncError: a name or shape differs, or there are too few or too many tensors.
    """
    stream = iter(tensors)
    for param in params:
        name, tensor = next(stream, ("none", torch.empty(0)))
        if (name, tuple(tensor.shape)) != (param.name, param.shape):
            raise SyncError(
                f"weight transfer: got parameter {name} {tuple(tensor.shape)} where {param.name} "
                f"{param.shape} was announced"
            )
        yield param, tensor
    if surplus := next(stream, None):
        raise SyncError(f"weight transfer: got parameter {surplus[0]}, which was not announced")


class GlooChannel:
    """A gloo group of its own, apart from the process's default group, with a deadline on every wait."""

    def __init__(self, host: str, port: int, rank: int, world_size: int, deadline_seconds: float) -> None:
        """Meet the other ranks at `host:port` (rank 0 listens).

        Raises:
            SyncError: not everybody arrived within `deadline_seconds`.
        """
        self.rank = rank
        self.deadline = timedelta(seconds=deadline_seconds)
        try:
            store = dist.TCPStore(host, port, world_size, is_master=rank == 0, timeout=self.deadline)
            self._group: Any = dist.ProcessGroupGloo(store, rank, world_size, self.deadline)
        except RuntimeError as error:  # torch reports time-outs of the store and of gloo as RuntimeError
            raise SyncError(
                f"weight transfer, rank {rank} of {world_size}, phase 'rendezvous': no connection at "
                f"{host}:{port} within {deadline_seconds:g} s ({error}). Check that every engine is alive and "
                "that the learner's address can be reached; raise sync.deadline_seconds if it is just slow."
            ) from error

    def broadcast(self, flat: torch.Tensor, bucket: Sequence[ParamInfo]) -> None:
        """Send (rank 0) or receive (others) one flat bucket in place.

        Raises:
            SyncError: a peer did not take part within the deadline.
        """
        options = dist.BroadcastOptions()
        options.rootRank = 0
        try:
            self._group.broadcast([flat], options).wait(self.deadline)
        except RuntimeError as error:
            raise SyncError(
                f"weight transfer, rank {self.rank}, phase 'broadcast', parameters {bucket[0].name} .. "
                f"{bucket[-1].name}: not done within {self.deadline.total_seconds():g} s ({error}). A peer has "
                "died or is stuck; look at its log. sync.deadline_seconds sets this limit."
            ) from error

    def send(self, tensors: Iterable[tuple[str, torch.Tensor]], plan: list[list[ParamInfo]]) -> None:
        """Broadcast the tensors, which must come in the plan's order, bucket by bucket.

        Raises:
            SyncError: a name or shape differs from the plan, there are too few or too many tensors, or a
                peer did not take part within the deadline.
        """
        pairs = as_announced(tensors, [param for bucket in plan for param in bucket])
        for bucket in plan:
            parts = [
                tensor.detach().to("cpu", param.torch_dtype).reshape(-1)
                for param, tensor in islice(pairs, len(bucket))
            ]
            self.broadcast(torch.cat(parts), bucket)
        next(pairs, None)  # which there must not be

    def receive(self, plan: list[list[ParamInfo]]) -> Iterator[list[tuple[str, torch.Tensor]]]:
        """Yield each bucket's named tensors as they arrive."""
        for bucket in plan:
            flat = torch.empty(sum(p.numel for p in bucket), dtype=bucket[0].torch_dtype)
            self.broadcast(flat, bucket)
            pieces = flat.split([p.numel for p in bucket])
            yield [(p.name, piece.view(p.shape)) for p, piece in zip(bucket, pieces, strict=True)]
