"""Check rollout.engine_args against the arguments that vLLM knows and those that have keys of their own."""

from __future__ import annotations

import difflib
from collections.abc import Collection

from rlvr.errors import ConfigError

OURS = {
    "model": "model.path",
    "tokenizer": "model.path",
    "dtype": "model.dtype",
    "max_model_len": "model.max_length",
    "trust_remote_code": "model.trust_remote_code",
    "tensor_parallel_size": "rollout.tensor_parallel",
    "gpu_memory_utilization": "rollout.memory_utilization",
    "kv_cache_memory_bytes": "rollout.kv_cache_mb",
    "max_num_seqs": "rollout.max_concurrent",
    "enforce_eager": "rollout.enforce_eager",
    "logprobs_mode": "rollout.temperature",
    "weight_transfer_config": "sync.backend",
    "worker_extension_cls": "sync.backend",
    "enable_lora": "sync.lora",
    "max_loras": "sync.lora",
    "max_lora_rank": "model.lora.rank",
    "lora_target_modules": "model.lora.targets",
    "seed": "seed",
}


def check_engine_args(given: Collection[str], known: Collection[str]) -> None:
    """Refuse arguments that vLLM lacks, and those that another key of the configuration sets.

    Raises:
        ConfigError: with every such argument, one a line.
    """
    problems = []
    for name in given:
        place = f"rollout.engine_args.{name}"
        if name in OURS:
            problems.append(f"{place}: {OURS[name]} sets this argument of vLLM; use that key instead")
        elif name not in known:
            near = [
                f"{close} (here: {OURS[close]})" if close in OURS else close
                for close in difflib.get_close_matches(name, known, n=2)
            ]
            hint = f"; did you mean {' or '.join(near)}?" if near else "; its EngineArgs lists them all"
            problems.append(f"{place}: vLLM has no such argument{hint}")
    if problems:
        raise ConfigError("\n".join(problems))
