"""What a set of `data.eval` says of itself: its name, which of its problems, when it is evaluated and how sampled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

from rlvr.config import Config, EvalConfig, SourceConfig
from rlvr.data.order import epoch_order
from rlvr.types import Problem

_DRAW_SEED = 0  # the same problems in every run, so that runs of several seeds can be compared
# Keys of a source that only evaluation reads.
OWN_KEYS = ("every", "samples_per_prompt", "temperature", "top_p", "first_and_last", "draw", "label")


def label_of(source: SourceConfig) -> str:
    """What metrics and reports call a set."""
    return source.name if source.label is None else source.label


def eval_of(source: SourceConfig, general: EvalConfig) -> EvalConfig:
    """The section `eval` as it holds for a set: what it says itself, else what is said for all."""
    names = {part.name for part in fields(EvalConfig)}
    own = {key: value for key in OWN_KEYS if key in names and (value := getattr(source, key)) is not None}
    return replace(general, **own)


def eval_named(name: str, cfg: Config) -> EvalConfig:
    """The same for the set of that name; what belongs to no set of the configuration is sampled as `eval` says."""
    return next((eval_of(source, cfg.eval) for source in cfg.data.eval if label_of(source) == name), cfg.eval)


def due(cfg: Config, step: int) -> tuple[str, ...]:
    """The names of the sets that are evaluated after so many steps.

    Before the first step and after the last one these are all but those with `first_and_last` false, in between those
    whose `every` divides the step.
    """
    if step in (0, cfg.steps):
        return tuple(label_of(source) for source in cfg.data.eval if source.first_and_last is not False)
    own = ((label_of(source), eval_of(source, cfg.eval).every) for source in cfg.data.eval)
    return tuple(name for name, every in own if every and step % every == 0)


def drawn(problems: Sequence[Problem], source: SourceConfig) -> tuple[Problem, ...]:
    """The problems that `draw` leaves, in their order; a smaller draw is part of a larger one."""
    if source.draw is None:
        return tuple(problems)
    places = sorted(epoch_order(_DRAW_SEED, 0, len(problems))[: source.draw])
    return tuple(problems[place] for place in places)


def relabelled(problems: Sequence[Problem], source: SourceConfig) -> tuple[Problem, ...]:
    """The problems with `label` in place of the name, so that a problem that stands in two sets has two ids."""
    label, name = label_of(source), source.name
    if label == name:
        return tuple(problems)
    return tuple(replace(p, id=f"{label}/{p.id.removeprefix(f'{name}/')}") for p in problems)
