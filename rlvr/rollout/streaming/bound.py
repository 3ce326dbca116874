"""The staleness bound as arithmetic on last steps.

A batch of step t updates the weights of version t - 1. With staleness k its oldest token is of version t - 1 - k or
later, so a group whose oldest token is of version v can be trained on up to step v + k + 1: its last step.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping

_REMEMBERED = 256  # groups that the share with a signal is estimated from
_DOUBT = 8  # groups with a signal that the estimate begins with
_DEVIATIONS = 2.0


def last_step(version: int, staleness: int) -> int:
    """The last step at which a token of this version may be trained on."""
    return version + staleness + 1


class Acceptance:
    """The share of groups with a signal, from those decided last; 1 until one came without."""

    def __init__(self) -> None:
        self._last: deque[bool] = deque(maxlen=_REMEMBERED)
        self._kept = 0

    def note(self, signal: bool) -> None:
        """A group was decided."""
        if len(self._last) == _REMEMBERED:
            self._kept -= self._last[0]
        self._last.append(signal)
        self._kept += signal

    def at_most(self, undecided: int) -> float:
        """How many of these groups may well carry a signal: their expected number and two deviations of it."""
        share = (self._kept + _DOUBT) / (len(self._last) + _DOUBT)
        spread = _DEVIATIONS * math.sqrt(undecided * share * (1 - share))
        return min(undecided, undecided * share + spread)


def overbooked(
    ready: Mapping[int, int], undecided: Mapping[int, int], next_step: int, want: int, acceptance: Acceptance
) -> int | None:
    """The first last step by which batches of `want` groups from `next_step` on cannot take all that it ends for.

    `ready` and `undecided` count groups by last step. None: batches that take the earliest last steps first, which
    achieves it if any order does (Liu and Layland 1973), can take what may well carry a signal.
    """
    sure = open_ = 0
    for end in sorted({*ready, *undecided}):
        sure += ready.get(end, 0)
        open_ += undecided.get(end, 0)
        if sure + acceptance.at_most(open_) > max(0, end - next_step + 1) * want:
            return end
    return None
