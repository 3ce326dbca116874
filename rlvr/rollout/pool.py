"""The engines as one: prompts are spread over them, and results come back in the order of the prompts."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rlvr.cluster import Bundle, Calls, Placement, spawn, wait, wait_together
from rlvr.cluster.handles import Ref
from rlvr.cluster.machine import threads_per_actor
from rlvr.cluster.turns import Apart, Turn, TurnTaking
from rlvr.config import Config, RolloutConfig
from rlvr.errors import DeadlineError
from rlvr.rollout.engine import (
    EngineHandle,
    EngineSpec,
    Generation,
    GenerationRequest,
    GenerationResult,
    RolloutEngine,
    Sampling,
    logprobs_mode,
)
from rlvr.seeding import derived_seed
from rlvr.sync.sender import BACKENDS, choose_backend
from rlvr.types import Group, Prompt, Sample, Tokenizer

PRECOMPILE = "TORCHINDUCTOR_CPP_CACHE_PRECOMPILE_HEADERS"


class EnginePool:
    """Handles of all rollout engines."""

    def __init__(
        self,
        cfg: Config,
        model_folder: str,
        tokenizer: Tokenizer,
        device: str,
        bundles: Sequence[Bundle] = (),  # GPUs of each engine; empty: none
    ) -> None:
        self.cfg, self.tokenizer = cfg, tokenizer
        self.turns: TurnTaking = Apart()
        self._lock = threading.Lock()
        self.busy_seconds = 0.0  # generating, as the slowest engine of each call saw it
        rollout = cfg.rollout
        spec = EngineSpec(
            model=model_folder,
            dtype=cfg.model.dtype,
            max_length=cfg.model.max_length,
            tensor_parallel=rollout.tensor_parallel,
            device=device,
            memory_utilization=rollout.memory_utilization,
            kv_cache_mb=rollout.kv_cache_mb,
            max_concurrent=rollout.max_concurrent,
            enforce_eager=rollout.enforce_eager,
            transfer_backend=BACKENDS[choose_backend(cfg, device)[0]],
            logprobs_mode=logprobs_mode(rollout.temperature, rollout.top_p, rollout.top_k),
            trust_remote_code=cfg.model.trust_remote_code,
            can_sleep=cfg.cluster.colocate,
            on_update=rollout.on_update if rollout.staleness else "wait",
            engine_args=dict(rollout.engine_args),
        )
        busy = rollout.engines + (cfg.learner.workers if rollout.staleness else 0)
        threads = threads_per_actor(cfg.cluster, busy_together=busy)
        self.handles: list[EngineHandle] = [
            spawn(RolloutEngine, _placement(i, rollout, threads, bundles[i] if bundles else None), spec)
            for i in range(rollout.engines)
        ]
        self.starting = Calls(
            [h.ready.remote() for h in self.handles],
            deadline_seconds=rollout.start_deadline_seconds,
            what="start of the rollout engines",
        )

    @contextmanager
    def exclusive(self, what: str) -> Iterator[None]:
        """Hold the engines: no generation during a weight push, and no push during a generation.

        A push is several calls to each engine, between which it must not be asked for tokens.

        Raises:
            DeadlineError: they were not free within rollout.deadline_seconds.
        """
        deadline = self.cfg.rollout.deadline_seconds
        if not self._lock.acquire(timeout=deadline):
            raise DeadlineError(f"{what}: the engines were not free within {deadline:g} s")
        try:
            yield
        finally:
            self._lock.release()

    def ready(self) -> dict[str, str]:
        """Wait until every engine can generate; returns the versions they run on."""
        return wait_together(self.starting)[0][0]

    def sleep(self, level: int) -> None:
        """Free the engines' KV cache and weights; vLLM's level 1 keeps these in host memory."""
        self._move([h.sleep.remote(level) for h in self.handles], "engines going to sleep")

    def wake_up(self, part: str) -> None:
        """Take memory for "weights" or "kv_cache" again."""
        self._move([h.wake_up.remote([part]) for h in self.handles], f"engines waking up their {part}")

    def _move(self, refs: Sequence[Ref[None]], what: str) -> None:
        wait(refs, deadline_seconds=self.cfg.rollout.start_deadline_seconds, what=what)

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling, *, n: int, key: str) -> list[Group]:
        """Sample `n` responses to each prompt; the same `key`, prompts and weights give the same responses.

        Raises:
            DeadlineError: an engine was not done within rollout.deadline_seconds; names its prompts.
        """
        requests = [
            GenerationRequest(
                key=f"{key}/{p.id}",
                prompt_ids=p.token_ids,
                n=n,
                seed=derived_seed(self.cfg.seed, key, p.id),
            )
            for p in prompts
        ]
        shares = [requests[i :: len(self.handles)] for i in range(len(self.handles))]
        what = (
            f"generation of {len(requests)} prompts x {n} samples ({requests[0].key} .. {requests[-1].key})"
        )
        with self.exclusive(what):
            self.turns.take(Turn.GENERATE)
            refs = [h.generate.remote(share, sampling) for h, share in zip(self.handles, shares, strict=True)]
            answers = wait(refs, deadline_seconds=self.cfg.rollout.deadline_seconds, what=what)
        self.busy_seconds += max(seconds for _, seconds in answers)
        groups: list[Group | None] = [None] * len(prompts)
        for lane, (results, _) in enumerate(answers):
            for place, result in enumerate(results):
                position = lane + place * len(self.handles)
                groups[position] = self._group(prompts[position], requests[position].key, result)
        return [g for g in groups if g is not None]

    def _group(self, prompt: Prompt, key: str, result: GenerationResult) -> Group:
        if result.key != key:
            raise RuntimeError(f"an engine answered request {result.key} where {key} was due")
        return Group(
            prompt,
            samples_of(
                [f"{key}/{i}" for i in range(len(result.generations))], result.generations, self.tokenizer
            ),
        )


def samples_of(
    ids: Sequence[str], generations: Sequence[Generation], tokenizer: Tokenizer
) -> tuple[Sample, ...]:
    """Responses as samples that are not graded yet."""
    tokens = [g.token_ids.tolist() for g in generations]
    texts = tokenizer.batch_decode(tokens, skip_special_tokens=True)
    return tuple(
        Sample(name, tuple(own), g.logprobs, text, g.truncated, g.spans)
        for name, own, text, g in zip(ids, tokens, texts, generations, strict=True)
    )


def _placement(number: int, rollout: RolloutConfig, threads: int, bundle: Bundle | None) -> Placement:
    env = {
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        # torch would preprocess the headers of all its C++ anew in each process, five seconds of one core, only to
        # find that what it is about to compile has been compiled before.
        PRECOMPILE: os.environ.get(PRECOMPILE, "0"),
    }
    return Placement(
        name=f"engine-{number}",
        gpus=rollout.gpus_per_engine * rollout.tensor_parallel,
        threads=threads,
        env=env,
        bundle=bundle,
    )
