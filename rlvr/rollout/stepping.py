"""vLLM's step loop in our own hands: requests join while others run, and samples leave when they are finished."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from rlvr.cluster.board import READY, Counter, report
from rlvr.cluster.remote import portable
from rlvr.errors import ActorError
from rlvr.rollout.sampling import Sampling
from rlvr.timing import Stopwatch

F = TypeVar("F")


@dataclass(frozen=True, slots=True)
class Request:
    """One response to sample."""

    key: str  # unique among those that run
    prompt_ids: tuple[int, ...]
    seed: int
    sampling: Sampling | None = None  # None: the slice's


class StepLoop(Generic[F]):
    """The requests that run on one engine in this process.

    It must be the only one that steps the engine. Between two calls nothing is computed, which is where weights may
    change.
    """

    def __init__(self, engine: Any, read: Callable[[Any], F]) -> None:
        self._engine = engine  # vLLM's LLMEngine
        self._read = read  # of a finished completion
        self._running: set[str] = set()  # keys
        self._finished: list[tuple[str, F]] = []

    @property
    def running(self) -> int:
        """Requests that are not finished."""
        return len(self._running)

    def add(self, request: Request, params: Any, cache_salt: str, adapter: Any = None) -> None:
        """Have a response sampled, with one of vLLM's adapters (a LoRARequest) or none.

        Prompts share cached keys and values where their salts and adapters are equal.
        """
        prompt = {"prompt_token_ids": list(request.prompt_ids), "cache_salt": cache_salt}
        self._engine.add_request(request.key, prompt, params, lora_request=adapter)
        self._running.add(request.key)

    def cancel(self, keys: Sequence[str]) -> None:
        """Stop these requests, those of them that still run."""
        gone = self._running.intersection(keys)
        self._engine.abort_request(sorted(gone))
        self._running -= gone

    def cached_blocks(self) -> int:
        """Blocks of keys and values that are there to be used on, of prefixes and of running requests."""
        core = getattr(self._engine.engine_core, "engine_core", None)
        if core is None:  # in a process of its own, where nothing runs during an update
            return 0
        scheduler = core.scheduler
        prefixes = len(scheduler.kv_cache_manager.block_pool.cached_block_hash_to_block)
        return prefixes + sum(request.num_computed_tokens > 0 for request in scheduler.requests.values())

    def step(self) -> None:
        """One token for every request that has a slot.

        Raises:
            ActorError: vLLM raised; this engine is not to be asked again.
        """
        try:
            outputs = self._engine.step()
        except Exception as error:  # what its scheduler counts on may not have been computed
            raise ActorError(f"its step failed, so it takes no further part: {portable(error)}") from error
        for output in outputs:
            if output.finished and output.request_id in self._running:
                self._running.remove(output.request_id)
                self._finished.append((output.request_id, self._read(output.outputs[0])))

    def advance(self, seconds: float) -> list[tuple[str, F]]:
        """Step until a sample is finished, nothing runs or the time is over; what is finished leaves, with its key."""
        watch = Stopwatch()
        while self.running and not self._finished and watch.seconds < seconds:
            self.step()
        finished, self._finished = self._finished, []
        return finished

    def until_done(self, keys: Sequence[str]) -> list[F]:
        """Step until these requests are finished, whatever runs beside them; their samples, in this order."""
        wanted = set(keys)
        counter, left = Counter("generates", len(wanted), "responses"), len(wanted)
        while left:
            self.step()
            now = len(wanted & self._running)
            counter.add(left - now)
            left = now
        report(READY)
        done = {key: sample for key, sample in self._finished if key in wanted}
        self._finished = [pair for pair in self._finished if pair[0] not in wanted]
        return [done[key] for key in keys]
