"""What engines are built from."""

from __future__ import annotations

from typing import Any

from rlvr.rollout.engine_spec import EngineSpec


def spec(device: str, *, enforce_eager: bool, adapter: Any = None) -> EngineSpec:
    """Of a small engine that is never built."""
    return EngineSpec(
        model="m",
        dtype="float32",
        max_length=64,
        tensor_parallel=1,
        device=device,
        memory_utilization=0.5,
        kv_cache_mb=None,
        max_concurrent=8,
        enforce_eager=enforce_eager,
        transfer_backend="rlvr_gloo",
        logprobs_mode="raw_logprobs",
        trust_remote_code=False,
        adapter=adapter,
    )
