"""The receiving half of the gloo transfer as a vLLM weight-transfer engine (the CPU path).

vLLM ships NCCL and CUDA-IPC engines and no transport for CPU; this one is registered with its factory.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from vllm.distributed.weight_transfer.base import (
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)
from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory
from vllm.model_executor.model_loader.reload import finalize_layerwise_reload, initialize_layerwise_reload

from rlvr.sync.gloo import GlooChannel, ParamInfo, plan_buckets
from rlvr.sync.held import HeldCopy

BACKEND = "rlvr_gloo"


@dataclass
class GlooInitInfo(WeightTransferInitInfo):
    """Where to meet; `rank_offset` is the group rank of this engine's first worker."""

    host: str
    port: int
    world_size: int
    rank_offset: int
    bucket_bytes: int
    deadline_seconds: float


@dataclass
class GlooUpdateInfo(WeightTransferUpdateInfo):
    """What one update sends, in order."""

    names: list[str]
    dtypes: list[str]
    shapes: list[list[int]]
    copy: str | None = None  # the push's name, if a copy of the weights is to be held; None: none
    base: str | None = None  # whole tensors come; else what has changed since this push, in pieces ...
    starts: list[int] = field(default_factory=list)  # ... which begin at these elements


class GlooWeightTransferEngine(WeightTransferEngine[GlooInitInfo, GlooUpdateInfo]):
    """Receives checkpoint-format weights over gloo and loads them with vLLM's layerwise reload."""

    init_info_cls = GlooInitInfo
    update_info_cls = GlooUpdateInfo
    _channel: GlooChannel | None = None
    _bucket_bytes = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.held = HeldCopy()

    def init_transfer_engine(self, init_info: GlooInitInfo) -> None:
        rank = init_info.rank_offset + self.parallel_config.rank
        self._bucket_bytes = init_info.bucket_bytes
        self._channel = GlooChannel(
            init_info.host, init_info.port, rank, init_info.world_size, init_info.deadline_seconds
        )

    @property
    def _adapters_only(self) -> bool:
        """The model stays as it was loaded: what comes is an adapter, see `WeightRecorder.record_adapter`."""
        return self.vllm_config.lora_config is not None

    def start_weight_update(self) -> None:
        if self._adapters_only:
            return
        self._forget_expert_kernels()
        initialize_layerwise_reload(self.model)

    def update_weights(self, update_info: dict) -> None:
        # The base class synchronises an accelerator afterwards; on CPU there is none.
        self.receive_weights(self.parse_update_info(update_info))

    def receive_weights(self, update_info: GlooUpdateInfo) -> None:
        if self._channel is None:
            raise RuntimeError("gloo weight transfer: init_transfer_engine has not been called")
        model: Any = self.model
        params = [
            ParamInfo(name, dtype, tuple(shape))
            for name, dtype, shape in zip(
                update_info.names, update_info.dtypes, update_info.shapes, strict=True
            )
        ]
        buckets = self._channel.receive(plan_buckets(params, self._bucket_bytes))
        if update_info.base is None:
            self.held.load_whole(buckets, model.load_weights, update_info.copy)
        else:
            self.held.load_changes(
                buckets, model.load_weights, update_info.copy, update_info.base, update_info.starts
            )

    def finish_weight_update(self) -> None:
        if not self._adapters_only:
            finalize_layerwise_reload(self.model, self.model_config)
            self._repack_tied_head()
        self.held.in_use()

    def _forget_expert_kernels(self) -> None:
        # On CPU experts compute from weights that are packed when their kernel is set up, which a reload leaves out
        # where there is a kernel: it would copy the weights as they come into the packed ones.
        for module in self.model.modules():
            method: Any = getattr(module, "quant_method", None)
            if getattr(method, "moe_kernel", None) is not None:
                method.moe_kernel = None

    def _repack_tied_head(self) -> None:
        # On CPU the head computes from a packed copy of its weight. A tied head has no weight of its own in
        # the checkpoint, so the reload never repacks it and it would go on with the old one.
        head = getattr(self.model, "lm_head", None)
        tied = getattr(self.model_config.hf_config, "tie_word_embeddings", False)
        if tied and head is not None and getattr(head, "quant_method", None) is not None:
            head.quant_method.process_weights_after_loading(head)

    def shutdown(self) -> None:
        self._channel = None


def register() -> None:
    """Make the engine known to vLLM; also a `vllm.general_plugins` entry point, for its worker processes."""
    if BACKEND not in WeightTransferEngineFactory._registry:
        WeightTransferEngineFactory.register_engine(BACKEND, GlooWeightTransferEngine)
