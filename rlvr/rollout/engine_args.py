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


# Parameters of sampling are no arguments of the engine.
SAMPLING = {
    "temperature": "rollout.temperature",
    "top_p": "rollout.top_p",
    "top_k": "rollout.top_k",
    "n": "rollout.samples_per_prompt",
    "max_tokens": "rollout.max_response_tokens",
    "min_tokens": "rollout.min_tokens",
    "stop": "rollout.stop",
    "stop_token_ids": "rollout.stop_token_ids",
}
# Those without a key: the learner could not compute the probabilities that tokens are drawn with.
SKEWING = (
    "min_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "bad_words",
    "allowed_token_ids",
)


def misplaced(given: Collection[str]) -> list[str]:
    """What is wrong with names under rollout.engine_args that can be told without vLLM, one message each."""
    found = []
    for name in given:
        place = f"rollout.engine_args.{name}"
        if name in OURS:
            found.append(f"{place}: {OURS[name]} sets this argument of vLLM; use that key instead")
        elif name in SAMPLING:
            found.append(
                f"{place}: is a parameter of sampling and no argument of the engine; use {SAMPLING[name]}"
            )
        elif name in SKEWING:
            found.append(
                f"{place}: is a parameter of sampling that skews the distribution which tokens are drawn from, and the "
                "learner does not compute the skewed one; leave it out"
            )
    return found


def check_engine_args(given: Collection[str], known: Collection[str]) -> None:
    """Refuse arguments that vLLM lacks, and those that another key of the configuration sets.

    Raises:
        ConfigError: with every such argument, one a line.
    """
    problems = misplaced(given)
    for name in given:
        place = f"rollout.engine_args.{name}"
        if name not in {*known, *OURS, *SAMPLING, *SKEWING}:
            near = [
                f"{close} (here: {OURS[close]})" if close in OURS else close
                for close in difflib.get_close_matches(name, known, n=2)
            ]
            hint = f"; did you mean {' or '.join(near)}?" if near else "; its EngineArgs lists them all"
            problems.append(f"{place}: vLLM has no such argument{hint}")
    if problems:
        raise ConfigError("\n".join(problems))
