"""Rounds of dynamic sampling: how many prompts to draw next, and the window in which a synchronous run is simulated.

A run asks for the number alone (`rlvr.rollout.collect`). In the window groups start once they are sure to be drawn.
"""

from __future__ import annotations

import math

from rlvr.rollout.streaming.records import Opening, Release


def next_draw(missing: int, kept: int, drawn: int, most: int) -> int:
    """How many prompts to draw next: the missing ones over the acceptance so far, at most `most`."""
    if drawn == 0:
        return missing
    acceptance = max(kept, 1) / drawn
    return min(most, max(missing, math.ceil(missing / acceptance)))


class RoundsWindow:
    """Step after step, generate-and-filter rounds on the weights that the step updates.

    What a step draws depends on which of its groups carry a signal, not on the number of engines or their speed.
    With `early`, a group of the next round starts before this round is decided, if that round will hold it however the
    undecided groups turn out.
    """

    def __init__(
        self,
        *,
        want: int,  # groups of a batch
        max_rounds: int,  # of a step; 1 without dynamic sampling
        position: int = 0,  # of the training stream
        next_step: int = 1,
        last: int,  # step of the run
        early: bool = True,
    ) -> None:
        self.want, self.max_rounds, self.last, self.early = want, max_rounds, last, early
        self._step = next_step
        self._begin(position)

    def _begin(self, position: int) -> None:
        self._start = self._next = position
        self._ends = [position + self.want]  # of the rounds drawn so far
        self._signals: dict[int, bool] = {}  # by group, once decided
        self._decided = self._kept = 0  # of the groups before the last end

    def open(self, version: int) -> Opening | None:
        """The next group; none before the weights are those of the step before."""
        if version != self._step - 1 or self._step > self.last:
            return None
        early = self._next >= self._ends[-1]
        if early and not (self.early and self._next < self._sure_end()):
            return None
        self._next += 1
        return Opening(self._next - 1, len(self._ends) - 1 + early)

    def _sure_end(self) -> int:
        """The end of the next round if every undecided group of this one carries a signal: its smallest."""
        undecided = self._ends[-1] - self._start - self._decided
        return self._ends[-1] + self._draw(self._kept + undecided)

    def _draw(self, kept: int) -> int:
        """The size of the next round after this one kept so many groups; 0: there is none."""
        if kept >= self.want or len(self._ends) == self.max_rounds:
            return 0
        return next_draw(self.want - kept, kept, self._ends[-1] - self._start, self.want)

    def decided(self, group: int, *, signal: bool) -> None:
        """Note what became of a group; after the last one of a round the next round is drawn."""
        self._signals[group] = signal
        if group >= self._ends[-1]:
            return
        self._decided += 1
        self._kept += signal
        while self._decided == self._ends[-1] - self._start and (count := self._draw(self._kept)):
            begin, end = self._ends[-1], self._ends[-1] + count
            self._ends.append(end)
            ahead = [self._signals[g] for g in range(begin, end) if g in self._signals]
            self._decided += len(ahead)
            self._kept += sum(ahead)

    def take(self, step: int) -> Release | None:
        """The first groups in the stream that carry a signal, once the step's rounds are decided."""
        assert step == self._step, f"step {step} was asked for where {self._step} is due"
        end, drawn = self._ends[-1], self._ends[-1] - self._start
        if self._decided < drawn or self._draw(self._kept):
            return None
        kept = [g for g in range(self._start, end) if self._signals[g]]
        dropped = [g for g in range(self._start, end) if not self._signals[g]]
        release = Release(
            step,
            groups=tuple(kept[: self.want]),
            dropped=(*dropped, *kept[self.want :]),
            short_of=max(0, self.want - len(kept)),
            position=end,
            rounds=len(self._ends),
        )
        self._step += 1
        self._begin(end)
        return release
