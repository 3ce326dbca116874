"""Seconds of a step's phases on GPUs, every response at its full length: estimates from stated rates."""

from __future__ import annotations

from dataclasses import dataclass

from rlvr.config import Config
from rlvr.runtime.planning.cards import Card
from rlvr.runtime.planning.ledger import (
    BYTES,
    checkpointed_layers,
    engine_ledger,
    host_states,
    longest_sequence,
    micro_batch_tokens,
    offloads,
    states,
)
from rlvr.runtime.planning.shape import ModelShape

FP32_PRODUCTS = 1 / 8  # of the rate in bf16
DAY = 86400.0


@dataclass(frozen=True, slots=True)
class Phase:
    """A phase of a step, and the deadline that bounds it."""

    name: str
    seconds: float
    key: str
    deadline: float

    @property
    def late(self) -> bool:
        """Whether its deadline would fire."""
        return self.seconds > self.deadline


def concurrent_sequences(cfg: Config, shape: ModelShape, cache: float) -> float:
    """Sequences of full length that the KV cache of one rank of an engine holds; `cache` in bytes."""
    a_token = BYTES[cfg.model.dtype] * shape.cache_per_token / cfg.rollout.tensor_parallel
    return min(float(cfg.rollout.max_concurrent), cache / (a_token * longest_sequence(cfg)))


def phases(cfg: Config, shape: ModelShape, card: Card, *, base: bool) -> list[Phase]:
    """Estimated seconds of a step's phases, every response at its full length."""
    samples = cfg.data.prompts_per_step * cfg.rollout.samples_per_prompt
    sampled = samples * cfg.rollout.max_response_tokens
    tokens = sampled + samples * cfg.data.max_prompt_tokens
    n, size = float(shape.parameters), BYTES[cfg.model.dtype]
    cache = dict(engine_ledger(cfg, shape, card).parts)["KV cache"]
    # Sequences are half as long as at their end, on average, so that twice as many have room together. Each round of
    # the engine reads its weights and what they hold of the cache, and writes one token of each.
    full = max(1.0, concurrent_sequences(cfg, shape, cache))
    together = min(float(cfg.rollout.max_concurrent), 2 * full)
    a_sequence = size * shape.cache_per_token / cfg.rollout.tensor_parallel * longest_sequence(cfg) / 2
    a_round = (size * n / cfg.rollout.tensor_parallel + together * a_sequence) / (card.memory_gb_s * 1e9)
    generate = sampled / cfg.rollout.engines / together * a_round
    flops = card.tflops * 1e12 * (FP32_PRODUCTS if cfg.model.dtype == "float32" else 1.0)
    passes = flops * cfg.learner.workers
    score = 2 * n * tokens * (2 if base else 1) / passes
    update = (6 + 2 * _computed_again(cfg, shape)) * n * tokens / passes
    if offloads(cfg):  # gradients down and weights up, in every update
        moved = (states(cfg, n, 0).gradients + size * n) * cfg.learner.updates_per_step
        update += moved / (card.host_gb_s * 1e9)
    push = size * n / (card.network_gb_s * 1e9)
    found = [
        Phase("generate", generate, "rollout.deadline_seconds", cfg.rollout.deadline_seconds),
        Phase("score", score, "learner.deadline_seconds", cfg.learner.deadline_seconds),
        Phase("update", update, "learner.deadline_seconds", cfg.learner.deadline_seconds),
        Phase("push", push, "sync.deadline_seconds", cfg.sync.deadline_seconds),
    ]
    if cfg.cluster.colocate:  # everything goes to host memory and back once
        turns = 2 * host_states(cfg, n, n if base else 0) / (card.host_gb_s * 1e9)
        found.append(Phase("turns", turns, "learner.deadline_seconds", cfg.learner.deadline_seconds))
    return found


def _computed_again(cfg: Config, shape: ModelShape) -> float:
    """Forward passes that backward makes once more, in whole ones; attention itself is not counted anywhere here."""
    again = checkpointed_layers(cfg, shape) / max(1, shape.layers)
    tiled = 0 < cfg.learner.mlp_tile_tokens < micro_batch_tokens(cfg) / cfg.learner.sequence_parallel
    return again + (min(1.0, shape.mlp_parameters / shape.parameters) if tiled else 0.0)


def step_seconds(cfg: Config, found: list[Phase]) -> float:
    """Seconds of a whole step: phases take turns, unless generation runs ahead of the learner."""
    generate = found[0].seconds
    rest = sum(phase.seconds for phase in found[1:])
    return max(generate, rest) if cfg.rollout.staleness else generate + rest
