"""The sending half of a weight update, on every learner rank: gloo (ours) or vLLM's NCCL and IPC senders."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import torch

from rlvr.cluster import node_address
from rlvr.cluster.machine import free_port
from rlvr.config import Config
from rlvr.errors import ConfigError
from rlvr.sync.checksum import Checksums, check_loaded
from rlvr.sync.client import EngineClient, TransferHandle
from rlvr.sync.gloo import GlooChannel, ParamInfo, plan_buckets

NamedTensors = Callable[[], Iterator[tuple[str, torch.Tensor]]]
# Our names -> names in vLLM's factories.
BACKENDS = {"gloo": "rlvr_gloo", "nccl": "nccl", "ipc": "ipc"}


def choose_backend(cfg: Config, device: str) -> tuple[str, str]:
    """The transfer backend and the reason for it."""
    if cfg.sync.backend != "auto":
        return cfg.sync.backend, "sync.backend says so"
    if device == "cpu":
        return "gloo", "engines run on CPU"
    if cfg.cluster.colocate:
        return "ipc", "engines and learner share their GPUs"
    return "nccl", "engines run on GPUs of their own"


def buffer_bytes(infos: Sequence[ParamInfo], wanted: int) -> int:
    """Bytes of the buffer for packed transfers: each parameter has to fit whole, an embedding as well."""
    return max([wanted, *(math.prod(p.shape) * p.torch_dtype.itemsize for p in infos)])


class Sender(Protocol):
    """Sends one whole set of parameters to all engines."""

    def send(self, tensors: NamedTensors, version: int) -> None:
        """Called on every learner rank; returns when the engines use the new weights."""
        ...


class GatherOnly:
    """Ranks other than 0: only take part in the gathering of sharded parameters."""

    def send(self, tensors: NamedTensors, version: int) -> None:
        for _ in tensors():
            pass


class GlooSender:
    """Rank 0 of the CPU path."""

    def __init__(self, client: EngineClient, infos: Sequence[ParamInfo], cfg: Config) -> None:
        self._client, self._infos = client, list(infos)
        bucket_bytes = cfg.sync.bucket_mb << 20
        self._plan = plan_buckets(self._infos, bucket_bytes)
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

    def send(self, tensors: NamedTensors, version: int) -> None:
        update = {
            "names": [p.name for p in self._infos],
            "dtypes": [p.dtype for p in self._infos],
            "shapes": [list(p.shape) for p in self._infos],
        }
        self._client.version = version
        pool, stream = ThreadPoolExecutor(1), tensors()
        try:
            self._client.start_weight_update()
            engines = pool.submit(self._client.update_weights, update)
            self._channel.send(stream, self._plan)
            engines.result()
        except BaseException:
            for _ in stream:  # the other ranks gather all of it, and wait for this one
                pass
            raise
        finally:
            pool.shutdown(wait=False)  # after a failure here the other side is still inside its deadline
        self._client.finish_weight_update()


class VllmSender:
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

    def send(self, tensors: NamedTensors, version: int) -> None:
        self._client.version = version
        self._source.tensors = tensors
        self._engine.send_weights()


class CheckedSender:
    """Rank 0's sender, and after each push the comparison of what was loaded with what the learner holds."""

    def __init__(self, inner: Sender, client: EngineClient, infos: Sequence[ParamInfo]) -> None:
        self._inner, self._client = inner, client
        self._dtypes = {p.name: p.torch_dtype for p in infos}

    def send(self, tensors: NamedTensors, version: int) -> None:
        """As `Sender.send`.

        Raises:
            WeightsError: an engine loaded something else.
        """
        held = Checksums()

        def as_sent() -> Iterator[tuple[str, torch.Tensor]]:
            return held.noting((name, tensor.to(self._dtypes[name])) for name, tensor in tensors())

        self._inner.send(as_sent, version)
        check_loaded(held.numbers(), self._client.loaded, version)


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
    if backend == "gloo":
        sender: Sender = GlooSender(client, infos, cfg) if rank == 0 else GatherOnly()
    else:
        sender = VllmSender(backend, client, infos, cfg, rank)
    return CheckedSender(sender, client, infos) if rank == 0 else sender
