"""What small engines are built from; imports no vLLM, which takes seconds."""

from __future__ import annotations

from typing import Any

from rlvr.rollout.engine_spec import EngineSpec
from rlvr.sync.sender import BACKENDS


def engine_spec(**chosen: Any) -> EngineSpec:
    """Of an eager engine on CPU in float32 that sends weights over gloo, but for what is chosen."""
    usual: dict[str, Any] = {
        "model": "m",
        "dtype": "float32",
        "max_length": 64,
        "tensor_parallel": 1,
        "device": "cpu",
        "memory_utilization": 0.5,
        "kv_cache_mb": None,
        "max_concurrent": 64,
        "enforce_eager": True,
        "transfer_backend": BACKENDS["gloo"],
        "logprobs_mode": "raw_logprobs",
        "trust_remote_code": False,
    }
    return EngineSpec(**usual | chosen)
