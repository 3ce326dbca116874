"""What the scheduler of rollouts says and is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Submit:
    """Have an engine sample these members of a group, with the seeds that these members always have."""

    engine: int
    # Numbered as they are opened, from 0 or, in rounds, by place in the stream; below 0: one that belongs to no batch.
    group: int
    samples: tuple[int, ...]  # places in the group
    round: int  # of dynamic sampling, from 0; always 0 in a flow


@dataclass(frozen=True, slots=True)
class Cancel:
    """Nobody waits for these samples any more."""

    engine: int
    group: int
    samples: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Release:
    """The batch of a step: groups to train on, in this order, and those that were generated for nothing."""

    step: int
    groups: tuple[int, ...]
    dropped: tuple[int, ...]  # without a signal, or surplus, since the last batch
    short_of: int  # groups missing
    position: int  # the number of the next group that is opened
    rounds: int
    pending: tuple[int, ...] = ()  # groups before it that are in no batch yet


Action = Submit | Cancel | Release


@dataclass(frozen=True, slots=True)
class Opening:
    """A group that may start now."""

    group: int
    round: int


class Window(Protocol):
    """Which groups may start, and which of them make up a batch."""

    def open(self, version: int) -> Opening | None:
        """The next group, if one may start on weights of this version."""
        ...

    def decided(self, group: int, *, signal: bool) -> None:
        """All samples of an open group are graded; without a signal it will not be trained on."""
        ...

    def take(self, step: int) -> Release | None:
        """The batch of this step, if it can be formed yet."""
        ...
