"""The sending half of a weight update, on every learner rank: gloo (ours) or vLLM's NCCL and IPC senders."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from rlvr.cluster import node_address
from rlvr.cluster.machine import free_port
from rlvr.config import Config
from rlvr.errors import ConfigError
from rlvr.sync.adapter import sends_adapter
from rlvr.sync.checksum import Checksums, check_loaded
from rlvr.sync.client import EngineClient, TransferHandle
from rlvr.sync.gloo import GlooChannel, ParamInfo, plan_buckets
from rlvr.sync.last_push import LastPush, WeightChange
from rlvr.sync.sent import Sent

NamedTensors = Callable[[], Iterator[tuple[str, torch.Tensor]]]
# Our names -> names in vLLM's factories.
BACKENDS = {"gloo": "rlvr_gloo", "nccl": "nccl", "ipc": "ipc"}


def choose_backend(cfg: Config, device: str) -> tuple[str, str]:
    """The transfer backend and the reason for it."""
    if cfg.sync.backend != "auto":
        return cfg.sync.backend, "sync.backend says so"
    if sends_adapter(cfg):
        return "gloo", "adapters are small"
    if device == "cpu":
        return "gloo", "engines run on CPU"
    if cfg.cluster.colocate:
        return "ipc", "engines and learner share their GPUs"
    return "nccl", "engines run on GPUs of their own"


def buffer_bytes(infos: Sequence[ParamInfo], wanted: int) -> int:
    """Bytes of the buffer for packed transfers: each parameter has to fit whole, an embedding as well."""
    return max([wanted, *(math.prod(p.shape) * p.torch_dtype.itemsize for p in infos)])


def sends_changes(cfg: Config, device: str) -> bool:
    """Whether pushes may send what has changed, for which the engines and the learner's rank 0 hold a copy each."""
    return cfg.sync.sparse == "auto" and choose_backend(cfg, device)[0] == "gloo"


class Sender(Protocol):
    """Brings one whole set of parameters to all engines."""

    def send(self, tensors: NamedTensors, version: int) -> Sent | None:
        """Called on every learner rank; returns when the engines use the new weights. None where nothing is sent."""
        ...

    def forget(self) -> None:
        """Send everything the next time, where that is not done anyway."""
        return None


@dataclass(frozen=True, slots=True)
class GatherOnly(Sender):
    """Ranks other than 0: only take part in the gathering of parameters, where they are sharded."""

    sharded: bool

    def send(self, tensors: NamedTensors, version: int) -> None:
        for _ in tensors() if self.sharded else ():
            pass


@contextmanager
def to_the_end(stream: Iterator[object]) -> Iterator[None]:
    """Go through all of the stream though the block fails: the other ranks gather all of it, and wait for this one."""
    try:
        yield
    except BaseException:
        for _ in stream:
            pass
        raise


class GlooSender(Sender):
    """Rank 0 of the CPU path."""

    def __init__(self, client: EngineClient, infos: Sequence[ParamInfo], cfg: Config) -> None:
        self._client, self._infos = client, list(infos)
        self._bucket_bytes = bucket_bytes = cfg.sync.bucket_mb << 20
        host, port, world = node_address(), free_port(), client.workers + 1
        info = {
            "host": host,
            "port": port,
            "world_size": world,
            "rank_offset": 1,
            "bucket_bytes": bucket_bytes,
            "deadline_seconds": cfg.sync.deadline_seconds,
        }
        # Both sides block in the rendezvous until the other is there, hence the second thread.
        with ThreadPoolExecutor(1) as pool:
            engines = pool.submit(client.init_weight_transfer_engine, info)
            self._channel = GlooChannel(host, port, 0, world, cfg.sync.deadline_seconds)
            engines.result()

    def send(self, tensors: NamedTensors, version: int) -> Sent:
        self.transfer(tensors(), self._infos, version, {})
        return Sent(sum(p.nbytes for p in self._infos))

    def transfer(
        self,
        stream: Iterator[tuple[str, torch.Tensor]],
        infos: Sequence[ParamInfo],
        version: int,
        more: dict[str, Any],
    ) -> None:
        """Have the engines load the stream's tensors; `more` are further fields of the update's description."""
        update = {
            "names": [p.name for p in infos],
            "dtypes": [p.dtype for p in infos],
            "shapes": [list(p.shape) for p in infos],
        }
        self._client.version = version
        pool = ThreadPoolExecutor(1)
        try:
            with to_the_end(stream):
                self._client.start_weight_update()
                engines = pool.submit(self._client.update_weights, update | more)
                self._channel.send(stream, plan_buckets(infos, self._bucket_bytes))
                engines.result()
        finally:
            pool.shutdown(wait=False)  # after a failure here the other side is still inside its deadline
        self._client.finish_weight_update()


class SparseSender(Sender):
    """Rank 0 of the CPU path where both sides hold a copy of the last push: sends what has changed since.

    It sends everything where an engine does not hold the last push, and where what has changed takes no fewer bytes.
    """

    def __init__(self, inner: GlooSender, client: EngineClient, infos: Sequence[ParamInfo]) -> None:
        self._inner, self._client = inner, client
        self._last = LastPush(infos)
        self._id, self._pushes = uuid.uuid4().hex, 0
        self._base: str | None = None  # name of the last push; None: unknown what the engines hold

    def send(self, tensors: NamedTensors, version: int) -> Sent:
        base, self._base = self._base, None  # a push that fails leaves nothing to build on
        self._pushes += 1
        name, stream = f"{self._id}/{self._pushes}", tensors()
        with to_the_end(stream):
            change = self._last.take(stream)
        why = self._why_all(base, change)
        if why or change.pieces is None:
            self._inner.transfer(self._last.tensors(), self._last.infos, version, {"copy": name})
            sent = Sent(self._last.whole_bytes, changed=change.share, why=why)
        else:
            infos = [ParamInfo(piece.name, "uint8", (piece.data.numel(),)) for piece in change.pieces]
            more: dict[str, Any] = {
                "copy": name,
                "base": base,
                "starts": [piece.start for piece in change.pieces],
            }
            data = ((piece.name, piece.data) for piece in change.pieces)
            self._inner.transfer(data, infos, version, more)
            sent = Sent(change.bytes, whole=False, changed=change.share)
        self._base = name
        return sent

    def _why_all(self, base: str | None, change: WeightChange) -> str:
        if self._pushes == 1:
            return "it is the first push over this connection"
        if base is None:
            return "it is not certain that the engines hold the last push"
        if change.pieces is None:
            return "what has changed would take no fewer bytes"
        if self._client.held_copies() != {base}:
            return "an engine does not hold the last push"
        return ""

    def forget(self) -> None:
        self._base = None


class VllmSender(Sender):
    """vLLM's own trainer-side engines (NCCL between GPUs, CUDA IPC on a shared one)."""

    def __init__(
        self, backend: str, client: EngineClient, infos: Sequence[ParamInfo], cfg: Config, rank: int
    ) -> None:
        from vllm.distributed.weight_transfer import ParamMeta, WeightSource, WeightTransferTrainerFactory

        class LearnerSource(WeightSource):
            """vLLM's view of our parameters."""

            tensors: NamedTensors

            def metadata(self) -> list[ParamMeta]:
                return [ParamMeta(p.name, p.torch_dtype, p.shape) for p in infos]

            def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
                for (name, tensor), p in zip(self.tensors(), infos, strict=True):
                    yield name, tensor.to(p.torch_dtype)

        self._client, self._source = client, LearnerSource()
        self._bytes = sum(p.nbytes for p in infos)
        info: Any
        if backend == "nccl":
            from vllm.distributed.weight_transfer.nccl_engine import NCCLTrainerInitInfo

            info = NCCLTrainerInitInfo(
                master_address=node_address(),
                master_port=free_port(),
                world_size=client.workers + 1,
                packed_buffer_size_bytes=cfg.sync.bucket_mb << 20,
                rank=rank,
            )
        else:
            from vllm.distributed.weight_transfer.ipc_engine import IPCTrainerInitInfo

            info = IPCTrainerInitInfo(
                rank=rank, packed=True, packed_buffer_size_bytes=buffer_bytes(infos, cfg.sync.bucket_mb << 20)
            )
        self._engine = WeightTransferTrainerFactory.trainer_init(info, client=client, source=self._source)

    def send(self, tensors: NamedTensors, version: int) -> Sent:
        self._client.version = version
        self._source.tensors = tensors
        self._engine.send_weights()
        return Sent(self._bytes)


class CheckedSender(Sender):
    """Rank 0's sender, and after each push the comparison of what was loaded with what the learner holds."""

    def __init__(self, inner: Sender, client: EngineClient, infos: Sequence[ParamInfo]) -> None:
        self._inner, self._client = inner, client
        self._dtypes = {p.name: p.torch_dtype for p in infos}

    def send(self, tensors: NamedTensors, version: int) -> Sent | None:
        """As `Sender.send`.

        Raises:
            WeightsError: an engine loaded something else.
        """
        held = Checksums()

        def as_sent() -> Iterator[tuple[str, torch.Tensor]]:
            return held.noting((name, tensor.to(self._dtypes[name])) for name, tensor in tensors())

        sent = self._inner.send(as_sent, version)
        check_loaded(held.numbers(), self._client.loaded, version)
        return sent

    def forget(self) -> None:
        self._inner.forget()


def open_sender(
    cfg: Config, engines: Sequence[TransferHandle], *, rank: int, infos: Sequence[ParamInfo], device: str
) -> Sender:
    """Connect this learner rank to the engines.

    Raises:
        ConfigError: a GPU backend without GPUs.
        SyncError: an engine did not answer within sync.deadline_seconds.
    """
    backend, _ = choose_backend(cfg, device)
    if backend != "gloo" and device == "cpu":
        raise ConfigError(
            f"sync.backend={backend} moves weights between GPUs and this run is on CPU: use gloo"
        )
    client = EngineClient(engines, cfg.rollout.tensor_parallel, cfg.sync.deadline_seconds)
    sender: Sender
    if backend != "gloo":
        sender = VllmSender(backend, client, infos, cfg, rank)
    elif rank > 0:
        sender = GatherOnly(sharded=cfg.learner.shards_parameters)
    else:
        whole = GlooSender(client, infos, cfg)
        sender = SparseSender(whole, client, infos) if sends_changes(cfg, device) else whole
    return CheckedSender(sender, client, infos) if rank == 0 else sender
