"""What a vLLM engine is built from, and what the device and the recorded log-probs ask of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rlvr.sync.adapter import Adapter

# Where vLLM takes log-probs over the whole vocabulary from when top_p or top_k truncate it.
WHOLE_DISTRIBUTION = "rlvr.sync.vllm_logprobs:WholeDistribution"


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """What an engine is built from."""

    model: str  # folder or hub name
    dtype: str
    max_length: int  # prompt plus response tokens
    tensor_parallel: int
    device: str  # "cpu" or "cuda"
    memory_utilization: float
    kv_cache_mb: int | None
    max_concurrent: int
    enforce_eager: bool
    transfer_backend: str  # name in vLLM's weight-transfer factory
    logprobs_mode: str  # vLLM's name, see `logprobs_mode`
    trust_remote_code: bool
    can_sleep: bool = False  # it shares its GPU with the learner
    on_update: str = "wait"  # what becomes of responses in flight when weights arrive, see rollout.on_update
    adapter: Adapter | None = None  # that pushes send; None: they send whole weights
    engine_args: dict[str, Any] = field(default_factory=dict)


def logprobs_mode(temperature: float, top_p: float, top_k: int) -> str:
    """The mode in which vLLM records log p(token) at the temperature, over the whole vocabulary.

    That is what the learner computes. Truncation changes which tokens are sampled, not what is recorded of them.
    """
    if top_p < 1 or top_k > 0:
        return "processed_logits"  # which `WHOLE_DISTRIBUTION` has turned into log-probs
    return "raw_logprobs" if temperature == 1.0 else "processed_logprobs"


def split_prompts(engine_args: Mapping[str, Any], max_length: int) -> list[str]:
    """Which settings of rollout.engine_args would let vLLM prefill a prompt in pieces, which it cannot do on CPU.

    It rewinds a seeded request's random numbers after each piece, and torch's CPU generators have no offset.
    """
    found = []
    if engine_args.get("enable_chunked_prefill"):
        found.append("enable_chunked_prefill=true: leave it out")
    if threshold := engine_args.get("long_prefill_token_threshold"):
        found.append(f"long_prefill_token_threshold={threshold}: leave it out")
    budget = engine_args.get("max_num_batched_tokens")
    if isinstance(budget, int) and budget < max_length:
        found.append(f"max_num_batched_tokens={budget}: must be at least model.max_length={max_length}")
    return found


def in_one_process(device: str, transfer_backend: str, on_update: str) -> bool:
    """Whether scheduling and forward passes share this process instead of overlapping in two.

    On CPU there are no cores to spare for a second one, and requests keep their order, hence every sampled token.
    CUDA IPC handles of weights cannot travel between vLLM's two processes. Where weights change under running
    responses, nothing may be computed while they do: a process of its own would go on.
    """
    return device == "cpu" or transfer_backend == "ipc" or on_update != "wait"


def compiles_nothing(spec: EngineSpec) -> bool:
    """Whether vLLM is to run every function as Python has it, also those that it compiles though the model is eager.

    There are some in its sampler, in models such as Cohere's and in tensor parallelism. On a CPU each costs seconds at
    its first call, and a C++ compiler; models with adapters are not compiled there at all.
    """
    return spec.device == "cpu" and (spec.enforce_eager or spec.adapter is not None)


def further_arguments(spec: EngineSpec) -> dict[str, Any]:
    """The user's arguments for vLLM, with what the device and the recorded log-probs ask for."""
    arguments = dict(spec.engine_args)
    if spec.can_sleep and spec.device != "cpu":
        arguments["enable_sleep_mode"] = True
    # Scheduled ahead, tokens of the old weights would be counted among those of the new ones.
    if spec.on_update != "wait":
        arguments["async_scheduling"] = False
    if spec.device == "cpu":  # whole prompts only, also when a preempted request is prefilled again
        arguments["enable_chunked_prefill"] = False
    elif spec.tensor_parallel > 1:
        # Inside a placement group vLLM would ask Ray for more actors; the GPUs are this process's own.
        arguments.setdefault("distributed_executor_backend", "mp")
    if spec.logprobs_mode == "processed_logits":
        arguments["logits_processors"] = [*arguments.get("logits_processors", ()), WHOLE_DISTRIBUTION]
    return arguments
