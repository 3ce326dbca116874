"""One vLLM engine, as it lives inside a Ray actor: generation and weight updates.

This module and `rlvr.sync` are the only places that import vLLM, and only once an engine is built.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Protocol

import numpy as np

from rlvr.cluster.board import READY, Doing, report
from rlvr.cluster.handles import RemoteMethod
from rlvr.cluster.imports import uncollected
from rlvr.cluster.temporary import use_own_temporary_folder
from rlvr.rollout.engine_args import check_engine_args
from rlvr.rollout.engine_spec import EngineSpec, compiles_nothing, further_arguments, in_one_process
from rlvr.rollout.generation import Generation, GenerationRequest, GenerationResult, Slice
from rlvr.rollout.programs import find_compiler, find_lscpu
from rlvr.rollout.sampling import Sampling
from rlvr.rollout.stepping import Request, StepLoop
from rlvr.sync.adapter import RANKS
from rlvr.sync.checksum import LoadedWeights
from rlvr.sync.client import TransferHandle
from rlvr.timing import Stopwatch
from rlvr.types import Span


class EngineHandle(TransferHandle, Protocol):
    """A `RolloutEngine` in its actor."""

    @property
    def ready(self) -> RemoteMethod[dict[str, str]]: ...

    @property
    def generate(self) -> RemoteMethod[tuple[list[GenerationResult], float]]: ...

    @property
    def advance(self) -> RemoteMethod[Slice]: ...

    @property
    def sleep(self) -> RemoteMethod[None]: ...

    @property
    def wake_up(self) -> RemoteMethod[None]: ...


class RolloutEngine:
    """A vLLM engine with a weight version."""

    def __init__(self, spec: EngineSpec) -> None:
        if spec.device == "cpu":
            find_lscpu()
        if in_one_process(spec.device, spec.transfer_backend, spec.on_update):
            os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        if compiles_nothing(spec):
            # Read when torch's compiler is first imported, which the next lines do.
            os.environ.setdefault("TORCH_COMPILE_DISABLE", "1")
        report(Doing("imports vLLM"))
        keep_files_apart()
        with uncollected(for_good=True):
            from vllm import LLM
            from vllm.config import WeightTransferConfig
            from vllm.engine.arg_utils import EngineArgs

            from rlvr.sync import vllm_gloo
            from rlvr.sync.vllm_extension import WORKER_EXTENSION

        known = {f.name for f in fields(EngineArgs)} | set(inspect.signature(LLM.__init__).parameters)
        check_engine_args(spec.engine_args, known)
        vllm_gloo.register()
        compiles = not compiles_nothing(spec) and os.environ.get("TORCH_COMPILE_DISABLE") != "1"
        if spec.device == "cpu" and compiles:
            find_compiler()
        report(Doing("loads the model" if spec.enforce_eager else "loads the model and compiles it"))
        self.version = 0
        dtype: Any = spec.dtype
        self._llm = LLM(
            model=spec.model,
            tokenizer=spec.model,
            dtype=dtype,
            max_model_len=spec.max_length,
            tensor_parallel_size=spec.tensor_parallel,
            gpu_memory_utilization=spec.memory_utilization,
            kv_cache_memory_bytes=None if spec.kv_cache_mb is None else spec.kv_cache_mb << 20,
            max_num_seqs=spec.max_concurrent,
            enforce_eager=spec.enforce_eager,
            logprobs_mode=spec.logprobs_mode,
            trust_remote_code=spec.trust_remote_code,
            weight_transfer_config=WeightTransferConfig(backend=spec.transfer_backend),
            worker_extension_cls=WORKER_EXTENSION,
            enable_lora=spec.adapter is not None,
            max_loras=1,
            max_lora_rank=spec.adapter.room if spec.adapter else RANKS[0],
            # Modules without an adapter are left as they are.
            lora_target_modules=list(spec.adapter.modules) if spec.adapter else None,
            seed=0,
            **further_arguments(spec),
        )
        if spec.device == "cpu":
            self._llm.collective_rpc("leave_ranks_out")
        self._on_update, self._adapter = spec.on_update, spec.adapter
        self._pushed: Any = None  # the adapter of the last push, as a request names it
        self._loop = StepLoop(self._llm.llm_engine, self._read)
        self._llm.llm_engine.set_weight_version(str(self.version))
        report(READY)

    def ready(self) -> dict[str, str]:
        """Versions of what this engine runs on; returns once the engine can generate."""
        import torch
        import vllm

        return {"vllm": vllm.__version__, "torch": torch.__version__}

    def generate(
        self, requests: list[GenerationRequest], sampling: Sampling
    ) -> tuple[list[GenerationResult], float]:
        """Sample `n` responses for every request, in the order of the requests; also the seconds it took."""
        watch = Stopwatch()
        singles = [Request(f"{r.key}/{i}", r.prompt_ids, r.seed + i) for r in requests for i in range(r.n)]
        self._add(singles, sampling)
        done = iter(self._loop.until_done([single.key for single in singles]))
        results = [GenerationResult(r.key, tuple(next(done) for _ in range(r.n))) for r in requests]
        return results, watch.seconds

    def advance(
        self, requests: Sequence[Request], cancelled: Sequence[str], sampling: Sampling, seconds: float
    ) -> Slice:
        """Take these requests on and generate until a response is finished, or for so many seconds."""
        watch = Stopwatch()
        self._loop.cancel(cancelled)
        self._add(requests, sampling)
        finished = self._loop.advance(seconds)
        return Slice(tuple(finished), watch.seconds, self._loop.running)

    def _add(self, requests: Sequence[Request], sampling: Sampling) -> None:
        if self._adapter is not None and self._pushed is None:
            raise RuntimeError("asked for responses before an adapter was pushed (sync.lora=adapter)")
        for request in requests:
            # Where running responses keep their old keys and values, new ones must not find these in the cache.
            params = self._params(request, request.sampling or sampling)
            self._loop.add(request, params, str(self.version), self._pushed)

    def _params(self, request: Request, sampling: Sampling) -> Any:
        """vLLM's sampling parameters of one request."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        return SamplingParams(
            seed=request.seed,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            max_tokens=sampling.max_tokens,
            logprobs=0 if sampling.logprobs else None,  # 0: the sampled token only
            flat_logprobs=sampling.logprobs,
            stop=list(sampling.ends.texts),
            stop_token_ids=list(sampling.ends.token_ids),
            min_tokens=sampling.ends.min_tokens,
            # vLLM looks for texts only where it writes text itself
            detokenize=bool(sampling.ends.texts),
            skip_special_tokens=False,  # which shows special tokens: they may be stop texts
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

    def _read(self, completion: Any) -> Generation:
        return _generation(completion, recomputes=self._on_update != "keep")

    def sleep(self, level: int) -> None:
        """Free the KV cache and the weights, which level 1 keeps in host memory; nothing happens on CPU."""
        self._llm.sleep(level)

    def wake_up(self, tags: list[str]) -> None:
        """Take memory for "weights" or "kv_cache" again; the weights come before the cache."""
        self._llm.wake_up(tags)

    def held_copies(self) -> list[str | None]:
        """Of which push each worker holds a copy that can be patched; None: of none."""
        found: list[str | None] = self._llm.collective_rpc("held_copy")
        return found

    # The four calls of vLLM's weight-transfer API, driven by the learner's rank 0.

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        self._llm.collective_rpc("init_weight_transfer_engine", kwargs={"init_info": init_info})

    def start_weight_update(self) -> None:
        self._llm.collective_rpc("record_weights" if self._adapter is None else "record_adapter")
        self._llm.collective_rpc("start_weight_update")

    def update_weights(self, update_info: dict[str, Any]) -> None:
        self._llm.collective_rpc("update_weights", kwargs={"update_info": update_info})

    def finish_weight_update(self, version: int) -> LoadedWeights:
        """Put the new weights into use, whose checksums it returns; cached keys and values are those of the old ones.

        Raises:
            RuntimeError: keys and values of the old weights would be used on.
        """
        self._llm.collective_rpc("finish_weight_update")
        if self._adapter is not None:
            self._llm.collective_rpc("use_adapter", args=(self._adapter,))
        workers = self._llm.collective_rpc("recorded_weights")
        again = self._on_update == "recompute"  # also those of running requests
        keep = self._on_update == "keep" and self._loop.running > 0
        if not keep and not self._llm.reset_prefix_cache(reset_running_requests=again):
            raise RuntimeError("vLLM did not reset its prefix cache: requests were still running")
        if not keep and (kept := self._loop.cached_blocks()):
            raise RuntimeError(f"vLLM kept {kept} blocks of keys and values of weight version {self.version}")
        self.version = version
        self._llm.llm_engine.set_weight_version(str(version))
        if self._adapter is not None:
            from rlvr.sync.vllm_adapter import request_of

            self._pushed = request_of(version)
        not_loaded = {name for _, names in workers for name in names}
        return LoadedWeights(version, tuple(sums for sums, _ in workers), tuple(sorted(not_loaded)))


def keep_files_apart() -> None:
    """Have vLLM's rendezvous files and sockets in a temporary folder that goes with this process.

    What torch compiles stays where later runs find it.
    """
    from torch._inductor.runtime.cache_dir_utils import cache_dir

    cache_dir()  # settles TORCHINDUCTOR_CACHE_DIR, which else is below the temporary folder
    use_own_temporary_folder()


def _generation(completion: Any, *, recomputes: bool) -> Generation:
    ids = np.asarray(completion.token_ids, dtype=np.int64)
    logprobs = np.zeros(0, dtype=np.float32)
    if completion.logprobs is not None:
        # Flat layout: for each position the entries start..end, the sampled token first.
        flat = completion.logprobs
        logprobs = np.asarray([flat.logprobs[start] for start in flat.start_indices], dtype=np.float32)
        if len(logprobs) != len(ids):
            raise RuntimeError(f"vLLM returned {len(logprobs)} log-probs for {len(ids)} sampled tokens")
    spans = tuple(
        Span(int(s.version), s.start, own_context=recomputes or s.start == 0)
        for s in completion.weight_versions
    )
    return Generation(ids, logprobs, truncated=completion.finish_reason == "length", spans=spans)
