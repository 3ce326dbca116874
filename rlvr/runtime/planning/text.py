"""A plan in words: whole, for `rlvr plan`, and short, for the start of a run."""

from __future__ import annotations

from collections.abc import Iterator

from rlvr.config import Config
from rlvr.learner.scoring import needed_signals, needs_base
from rlvr.runtime.planning.advice import advice
from rlvr.runtime.planning.cards import CARDS, STANDARD, Card
from rlvr.runtime.planning.disk import disk
from rlvr.runtime.planning.ledger import (
    Ledger,
    copies,
    engine_ledger,
    host_states,
    largest_sequence,
    ledgers,
    longest_sequence,
    on_gpus,
)
from rlvr.runtime.planning.seconds import DAY, concurrent_sequences, phases, step_seconds
from rlvr.runtime.planning.shape import ModelShape, frozen_is_base, trained_parameters
from rlvr.validate import validate


def report(cfg: Config, shape: ModelShape, card: Card = CARDS[STANDARD], *, own_rates: bool = False) -> str:
    """The plan as text; `own_rates`: the card's rates are the user's, so that a run on CPU has seconds as well.

    Raises:
        ConfigError: the configuration contradicts itself.
    """
    batch, plugin = validate(cfg)
    base = needs_base(needed_signals(plugin, cfg.loss, cfg.tracking.signals))
    timed = on_gpus(cfg) or own_rates
    lines = [
        f"model {cfg.model.path}: {shape.parameters:,} parameters, {shape.layers} layers, "
        f"{shape.vocabulary:,} words" + (", tied head" if shape.tied else ""),
        str(batch),
        f"tokens a step: at most {batch.samples * cfg.rollout.max_response_tokens:,} sampled",
        *_memory(cfg, shape, card, base),
    ]
    seconds = 0.0
    if timed:
        found = phases(cfg, shape, card, base=base)
        seconds = step_seconds(cfg, found)
        lines.append(f"seconds a step on {card.name}, every response at full length (estimates):")
        for phase in found:
            late = "  LONGER THAN ITS DEADLINE" if phase.late else ""
            lines.append(f"  {phase.name:10s} {phase.seconds:8.1f} of {phase.key}={phase.deadline:g}{late}")
        overlap = ", generation beside the learner" if cfg.rollout.staleness else ""
        lines.append(
            f"  {'step':10s} {seconds:8.1f}{overlap}; {cfg.steps} steps: {cfg.steps * seconds / 3600:.1f} h"
        )
    lines += _disk(cfg, shape, seconds)
    found_advice = advice(cfg, shape, card, base=base, timed=timed)
    lines.append(
        "what would help most, each tried alone:" if found_advice else "no single change that was tried helps"
    )
    return "\n".join([*lines, *(f"  {one}" for one in found_advice)])


def _memory(cfg: Config, shape: ModelShape, card: Card, base: bool) -> Iterator[str]:
    for ledger in ledgers(cfg, shape, card, base=base):
        yield f"{ledger.role}: {gb(ledger.total)}" + _left(cfg, ledger, card)
        for name, part in ledger.parts:
            if part:
                yield f"  {name:32s} {gb(part)}"
    cache = dict(engine_ledger(cfg, shape, card).parts)["KV cache"]
    yield f"an engine holds {concurrent_sequences(cfg, shape, cache):.0f} sequences of full length at once"
    if not on_gpus(cfg):
        return
    longest, most = longest_sequence(cfg), largest_sequence(cfg, shape, card, base=base)
    yield f"longest sequence: {longest:,} tokens; a learner rank could train on one of {most:,} (estimate)"
    own_base = base and not frozen_is_base(cfg)
    trained = trained_parameters(cfg, shape)
    if size := host_states(cfg, shape.parameters, shape.parameters if own_base else 0, trained):
        yield f"host memory for each learner rank: {gb(size)} of states, and twice the weights while they load"
    if size := copies(cfg, shape.parameters):
        yield f"host memory for copies of the last push: {gb(size)}, of learner rank 0 and every worker of an engine"


def _left(cfg: Config, ledger: Ledger, card: Card) -> str:
    if not on_gpus(cfg):
        return ""
    left = card.memory - ledger.total
    return (
        f", {gb(left)} left of {card.name}"
        if left >= 0
        else f"; DOES NOT FIT a {card.name}: {gb(-left)} too much"
    )


def _disk(cfg: Config, shape: ModelShape, seconds: float) -> Iterator[str]:
    written = disk(cfg, shape)
    yield (
        f"a checkpoint takes about {gb(written.checkpoint)} ({cfg.run.keep_last} are kept), a step's samples at most "
        f"{gb(written.samples)} before compression"
    )
    if written.ready_groups:
        yield f"finished groups that no checkpoint covers take at most {gb(written.ready_groups)} (ready_groups.jsonl)"
    if seconds:
        checkpoints, samples = written.a_day(cfg, seconds)
        yield f"a day ({DAY / seconds:.0f} steps): {gb(checkpoints)} of checkpoints written, {gb(samples)} of samples"


def short(cfg: Config, shape: ModelShape, card: Card | None, *, base: bool) -> str:
    """One line: the largest sum of each kind of process, and seconds where the card is known."""
    sums = ", ".join(
        f"{ledger.role} {gb(ledger.total)}"
        for ledger in ledgers(cfg, shape, card or CARDS[STANDARD], base=base)
    )
    timed = ""
    if card is not None and on_gpus(cfg):
        seconds = step_seconds(cfg, phases(cfg, shape, card, base=base))
        timed = f"; about {seconds:.0f} s a step on {card.name} at full length"
    return f"memory (estimate): {sums}{timed}; `rlvr plan` says more"


def gb(size: float) -> str:
    """Bytes in GB."""
    return f"{size / 1e9:.2f} GB"
