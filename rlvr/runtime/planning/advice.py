"""The changes that would help most, found by trying each on the ledger: none is taken from a list of remedies."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

from rlvr.config import Config
from rlvr.errors import RlvrError
from rlvr.learner.model.tiling import loses_gradients
from rlvr.learner.model.ulysses import heads_divide
from rlvr.runtime.planning.cards import Card
from rlvr.runtime.planning.ledger import ledgers, on_gpus
from rlvr.runtime.planning.seconds import phases, step_seconds
from rlvr.runtime.planning.shape import ModelShape
from rlvr.validate import validate

SHOWN = 3
TILE = 4096  # tokens, of feed-forward layers in tiles
WORTH = 0.02  # of the seconds of a step, or of the memory: less is no help
Change = tuple[tuple[str, object], ...]  # keys with their new values


@dataclass(frozen=True, slots=True, order=True)
class Burden:
    """How far a configuration is from one that runs, then how fast it is, then what it takes; less is better."""

    missing: float  # bytes over the memory of a device
    late: float  # seconds over deadlines
    seconds: float  # of a step; 0 where there are no rates
    memory: float  # bytes of the largest process


@dataclass(frozen=True, slots=True)
class Advice:
    """A change, and what it would make of the run."""

    change: Change
    before: Burden
    after: Burden

    def __str__(self) -> str:
        keys = " ".join(f"{key}={_value(value)}" for key, value in self.change)
        said = []
        if self.before.missing:
            missing = self.after.missing
            less = f"{missing / 1e9:.1f} GB too much instead of {self.before.missing / 1e9:.1f}"
            said.append(less if missing else "it fits")
        elif self.after.memory < self.before.memory * (1 - WORTH):
            said.append(f"largest process {self.before.memory / 1e9:.1f} -> {self.after.memory / 1e9:.1f} GB")
        if self.before.late > self.after.late:
            said.append("no deadline fires" if not self.after.late else "fewer seconds past a deadline")
        if self.before.seconds and abs(self.after.seconds / self.before.seconds - 1) >= WORTH:
            said.append(f"{self.before.seconds:.1f} -> {self.after.seconds:.1f} s a step")
        return f"{keys}: {', '.join(said)}"


def burden(cfg: Config, shape: ModelShape, card: Card, *, base: bool, timed: bool) -> Burden:
    """Where a configuration stands; `timed`: with seconds."""
    sizes = [ledger.total for ledger in ledgers(cfg, shape, card, base=base)]
    missing = sum(max(0.0, size - card.memory) for size in sizes) if on_gpus(cfg) else 0.0
    if not timed:
        return Burden(missing, 0.0, 0.0, max(sizes))
    found = phases(cfg, shape, card, base=base)
    late = sum(max(0.0, phase.seconds - phase.deadline) for phase in found)
    return Burden(missing, late, step_seconds(cfg, found), max(sizes))


def advice(cfg: Config, shape: ModelShape, card: Card, *, base: bool, timed: bool) -> list[Advice]:
    """The changes that help most, best first: what makes it fit, then what is faster, or without rates smaller."""
    before = burden(cfg, shape, card, base=base, timed=timed)
    found = []
    for change in changes(cfg):
        tried = changed(cfg, change)
        if tried is None or not possible(tried, shape):
            continue
        after = burden(tried, shape, card, base=base, timed=timed)
        if _helps(before, after):
            found.append(Advice(change, before, after))
    return sorted(found, key=lambda one: one.after)[:SHOWN]


def possible(cfg: Config, shape: ModelShape) -> bool:
    """Whether the model lets its sequences be shared and its feed-forward layers be tiled so."""
    refused = cfg.learner.mlp_tile_tokens > 0 and (shape.experts or loses_gradients(cfg))
    return not refused and heads_divide(*shape.heads, cfg.learner.sequence_parallel)


def changed(cfg: Config, change: Change) -> Config | None:
    """The configuration with a change, None where it would then be refused."""
    tried = copy.deepcopy(cfg)
    for key, value in change:
        section, _, name = key.partition(".")
        setattr(getattr(tried, section), name, value)
    try:
        validate(tried)
    except RlvrError:
        return None
    return tried


def changes(cfg: Config) -> Iterator[Change]:
    """Everything that is worth trying: what divides, shrinks or overlaps work without another result."""
    rollout, learner, model = cfg.rollout, cfg.learner, cfg.model
    for factor in (0.5, 2):
        yield (
            (
                "learner.tokens_per_micro_batch",
                max(model.max_length, int(learner.tokens_per_micro_batch * factor)),
            ),
        )
        yield (("rollout.max_concurrent", max(1, int(rollout.max_concurrent * factor))),)
    yield from _of_activations(cfg)
    if rollout.kv_cache_mb is not None:
        yield (("rollout.kv_cache_mb", max(1, rollout.kv_cache_mb // 2)),)
    yield from _for_devices(cfg) if on_gpus(cfg) else ()


def _of_activations(cfg: Config) -> Iterator[Change]:
    """Layers computed again: all, some or none; feed-forward layers in tiles, or whole."""
    every: Change = (("learner.checkpoint_every", 1), ("learner.checkpoint_keep", "nothing"))
    if cfg.model.gradient_checkpointing:
        yield (("model.gradient_checkpointing", False), *every)
        yield (("learner.checkpoint_every", 2),)
        yield (("learner.checkpoint_keep", "nothing"),)
    else:
        yield (("model.gradient_checkpointing", True),)
        yield (("model.gradient_checkpointing", True), ("learner.checkpoint_every", 2))
    yield (("learner.mlp_tile_tokens", 0 if cfg.learner.mlp_tile_tokens else TILE),)


def _for_devices(cfg: Config) -> Iterator[Change]:
    rollout, learner, width = cfg.rollout, cfg.learner, cfg.rollout.tensor_parallel
    if cfg.model.dtype == "float32":
        yield (("model.dtype", "bfloat16"),)
    for stage in (1, 2, 3):
        if stage != learner.zero_stage:
            yield (("learner.zero_stage", stage),)
    for shared in (learner.sequence_parallel * 2, learner.sequence_parallel // 2):
        if shared:
            yield (("learner.sequence_parallel", shared),)
    yield (("learner.offload_optimizer", "cpu" if learner.offload_optimizer == "none" else "none"),)
    for utilisation in (0.5, 0.6, 0.7, 0.8, 0.9):
        yield (("rollout.memory_utilization", utilisation),)
    yield (("rollout.kv_cache_mb", None),)
    if rollout.engines % 2 == 0:
        yield (("rollout.tensor_parallel", 2 * width), ("rollout.engines", rollout.engines // 2))
    if width % 2 == 0:
        yield (("rollout.tensor_parallel", width // 2), ("rollout.engines", 2 * rollout.engines))
    if cfg.cluster.colocate:
        return
    ahead: Change = (("rollout.staleness", 1), ("loss.rollout_correction", 2.0))
    yield (("rollout.staleness", 0),) if rollout.staleness else ahead
    half = learner.workers // 2
    for moved in (half, -half):  # GPUs from one side to the other, in all as many
        engines = rollout.engines * width + moved
        if moved and learner.workers - moved > 0 and engines > 0 and engines % width == 0:
            yield (("learner.workers", learner.workers - moved), ("rollout.engines", engines // width))
    together = learner.workers + rollout.engines * width
    yield (
        ("cluster.colocate", True),
        ("learner.workers", together),
        ("learner.zero_stage", 2),
        ("learner.gpus_per_worker", 0.5),
        ("rollout.gpus_per_engine", 0.5),
        ("rollout.engines", together),
        ("rollout.tensor_parallel", 1),
        ("rollout.staleness", 0),
    )


def _helps(before: Burden, after: Burden) -> bool:
    if (before.missing, before.late) != (after.missing, after.late):
        return (after.missing, after.late) < (before.missing, before.late)
    if before.seconds:
        return after.seconds < before.seconds * (1 - WORTH)
    return after.memory < before.memory * (1 - WORTH)


def _value(value: object) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
