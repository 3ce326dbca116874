"""The engines as one: prompts are spread over them, and results come back in the order of the prompts."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rlvr.cluster import Bundle, Calls, Placement, outcomes, spawn, wait, wait_together
from rlvr.cluster.handles import Ref
from rlvr.cluster.machine import threads_per_actor
from rlvr.cluster.turns import Apart, Turn, TurnTaking
from rlvr.config import Config, RolloutConfig
from rlvr.errors import ActorError, DeadlineError, RlvrError
from rlvr.rollout.engine import EngineHandle, RolloutEngine
from rlvr.rollout.engine_spec import EngineSpec, logprobs_mode
from rlvr.rollout.generation import Generation, GenerationRequest, GenerationResult
from rlvr.rollout.nonsense import nonsense
from rlvr.rollout.roster import Roster
from rlvr.rollout.sampling import Sampling
from rlvr.seeding import derived_seed
from rlvr.sync.adapter import Adapter
from rlvr.sync.sender import BACKENDS, choose_backend
from rlvr.timing import Deadline
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
        adapter: Adapter | None = None,  # that a learner is going to send; None: whole weights, or nothing
    ) -> None:
        self.cfg, self.tokenizer = cfg, tokenizer
        self.turns: TurnTaking = Apart()
        self._lock = threading.Lock()
        self.vocabulary: int | None = None  # rows of the model's head, once known
        self.busy_seconds = 0.0  # generating, as the slowest engine of each call saw it
        rollout = cfg.rollout
        backend, _ = choose_backend(cfg, device)
        spec = _engine_spec(cfg, model_folder, device, BACKENDS[backend], adapter)
        busy = rollout.engines + (cfg.learner.workers if rollout.staleness else 0)
        threads = threads_per_actor(cfg.cluster, busy_together=busy)

        def start(engine: int) -> EngineHandle:
            handle: EngineHandle = spawn(
                RolloutEngine,
                _placement(engine, rollout, threads, bundles[engine] if bundles else None),
                spec,
            )
            return handle

        self.roster = Roster(
            start,
            rollout.engines,
            restarts=rollout.restarts,
            start_deadline_seconds=rollout.start_deadline_seconds,
            mendable=backend == "gloo",  # other transports' groups stay as they were opened
        )
        self.handles = self.roster.handles
        # Engines that have started again join; where there is a learner it first gives them its weights.
        self.bring_back: Callable[[], None] = lambda: self.roster.join(self.roster.returned())
        self.starting = Calls(
            [h.ready.remote() for h in self.handles],
            deadline_seconds=rollout.start_deadline_seconds,
            what="start of the rollout engines",
            key="rollout.start_deadline_seconds",
        )

    @contextmanager
    def exclusive(self, what: str) -> Iterator[None]:
        """Hold the engines: no generation during a weight push, and no push during a generation.

        A push is several calls to each engine, between which it must not be asked for tokens.

        Raises:
            DeadlineError: they were not free within rollout.deadline_seconds.
        """
        seconds = self.cfg.rollout.deadline_seconds
        if not Deadline(seconds).allows(lambda left: self._lock.acquire(timeout=left)):
            raise DeadlineError(f"{what}: the engines were not free within {seconds:g} s")
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
        seconds = self.cfg.rollout.start_deadline_seconds
        wait(refs, deadline_seconds=seconds, what=what, key="rollout.start_deadline_seconds")

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling, *, n: int, key: str) -> list[Group]:
        """Sample `n` responses to each prompt; the same `key`, prompts and weights give the same responses.

        What an engine had that is lost on the way is sampled by the others.

        Raises:
            ActorError, DeadlineError: every engine died, or was not done within rollout.deadline_seconds.
        """
        with self.exclusive(f"generation for {key}"):
            return self.ask(prompts, sampling, n=n, key=key)

    def ask(self, prompts: Sequence[Prompt], sampling: Sampling, *, n: int, key: str) -> list[Group]:
        """`generate`, for whoever holds the engines already."""
        requests = [
            GenerationRequest(
                key=f"{key}/{p.id}",
                prompt_ids=p.token_ids,
                n=n,
                seed=derived_seed(self.cfg.seed, key, p.id),
            )
            for p in prompts
        ]
        self.turns.take(Turn.GENERATE)
        results: dict[int, GenerationResult] = {}
        slowest = 0.0
        while left := [place for place in range(len(requests)) if place not in results]:
            self.roster.await_one()
            self.bring_back()
            lives = self.roster.up()
            shares = {engine: left[i :: len(lives)] for i, engine in enumerate(lives)}
            calls = {
                self.handles[engine].generate.remote([requests[place] for place in share], sampling): engine
                for engine, share in shares.items()
            }
            for engine, answer in self._answers(calls, requests).items():
                asked = [requests[place] for place in shares[engine]]
                why = (
                    answer
                    if isinstance(answer, RlvrError)
                    else self._refusal(engine, answer[0], asked, sampling)
                )
                if why is not None:
                    self.roster.lose(engine, lives[engine], why)
                elif not isinstance(answer, RlvrError):
                    slowest = max(slowest, answer[1])
                    results |= zip(shares[engine], answer[0], strict=True)
        self.busy_seconds += slowest
        return [self._group(p, results[i]) for i, p in enumerate(prompts)]

    def _answers(
        self,
        calls: dict[Ref[tuple[list[GenerationResult], float]], int],
        requests: Sequence[GenerationRequest],
    ) -> dict[int, tuple[list[GenerationResult], float] | RlvrError]:
        """What became of each engine's share; what is refused before the first step raises: others would, too."""
        first, last = requests[0], requests[-1]
        what = f"generation of {len(requests)} prompts x {first.n} samples ({first.key} .. {last.key})"
        deadline = Deadline(self.cfg.rollout.deadline_seconds)
        found: dict[int, tuple[list[GenerationResult], float] | RlvrError] = {}
        while left := [ref for ref, engine in calls.items() if engine not in found]:
            done = outcomes(left, timeout=deadline.left, what=what)
            for ref, answer in done:
                if isinstance(answer, RlvrError) and type(answer) is not ActorError:
                    raise answer
                found[calls[ref]] = answer
            if not done and not deadline.left:
                late = DeadlineError(
                    f"{what}: not done within {self.cfg.rollout.deadline_seconds:g} s (rollout.deadline_seconds). The "
                    "process is stuck or too slow: look at its log"
                )
                found |= {calls[ref]: late for ref in left}
        return found

    def _refusal(
        self,
        engine: int,
        results: list[GenerationResult],
        requests: Sequence[GenerationRequest],
        sampling: Sampling,
    ) -> ActorError | None:
        """Why the results cannot be what was asked for."""
        if [r.key for r in results] != [r.key for r in requests]:
            return ActorError(f"engine-{engine} answered other requests than it was asked")
        for result in results:
            if len(result.generations) != requests[0].n:
                return ActorError(f"engine-{engine} gave {len(result.generations)} responses to {result.key}")
            for i, generation in enumerate(result.generations):
                if why := self.nonsense(generation, sampling):
                    return ActorError(
                        f"engine-{engine} answered nonsense to {result.key}/{i}, which is refused: {why}"
                    )
        return None

    def nonsense(self, generation: Generation, sampling: Sampling) -> str | None:
        """What is wrong with a response, see `rlvr.rollout.nonsense`."""
        return nonsense(
            generation,
            most_tokens=sampling.max_tokens,
            vocabulary=self.vocabulary,
            logprobs=sampling.logprobs,
        )

    def _group(self, prompt: Prompt, result: GenerationResult) -> Group:
        ids = [f"{result.key}/{i}" for i in range(len(result.generations))]
        return Group(prompt, samples_of(ids, result.generations, self.tokenizer))


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


def _engine_spec(
    cfg: Config, model_folder: str, device: str, transfer: str, adapter: Adapter | None
) -> EngineSpec:
    rollout = cfg.rollout
    return EngineSpec(
        model=model_folder,
        dtype=cfg.model.dtype,
        max_length=cfg.model.max_length,
        tensor_parallel=rollout.tensor_parallel,
        device=device,
        memory_utilization=rollout.memory_utilization,
        kv_cache_mb=rollout.kv_cache_mb,
        max_concurrent=rollout.max_concurrent,
        enforce_eager=rollout.enforce_eager,
        transfer_backend=transfer,
        logprobs_mode=logprobs_mode(rollout.temperature, rollout.top_p, rollout.top_k),
        trust_remote_code=cfg.model.trust_remote_code,
        can_sleep=cfg.cluster.colocate,
        on_update=rollout.on_update if rollout.staleness else "wait",
        adapter=adapter,
        engine_args=dict(rollout.engine_args),
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
