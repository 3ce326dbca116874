"""The window of a run with staleness: groups start whenever a later batch is likely to have room for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rlvr.rollout.streaming.bound import Acceptance, last_step, overbooked
from rlvr.rollout.streaming.records import Opening, Release


class FlowWindow:
    """Groups in flight and groups that wait for a batch, none of which may be trained on too late.

    As many groups are under way as batches can take in time, by the share of groups that carry a signal. Where a
    group's last step has come, the batch waits for it: to go on without would favour short responses. More groups
    with a signal than a batch can take at their last step are thrown away; without dynamic sampling that cannot be.
    """

    def __init__(
        self,
        *,
        want: int,  # groups of a batch
        staleness: int,
        next_step: int = 1,
        last: int,  # step of the run
        most_drawn: int,  # decided groups that a batch may cost; then a smaller one is formed
    ) -> None:
        self.want, self.staleness, self.last, self.most_drawn = want, staleness, last, most_drawn
        self._opened, self._next_step = 0, next_step
        self._acceptance = Acceptance()
        self._last_steps: dict[int, int] = {}  # of groups under way
        self._undecided: Counter[int] = Counter()  # last step -> groups
        self._ready: dict[int, set[int]] = {}  # last step -> groups with a signal
        self._ready_count = 0
        self._dropped: list[int] = []  # since the last batch

    def open(self, version: int) -> Opening | None:
        """The next group, unless it might come too late, or could only be used after the end of the run."""
        end = last_step(version, self.staleness)
        undecided = len(self._last_steps) - self._ready_count + 1
        room = (min(end, self.last) - self._next_step + 1) * self.want
        if self._ready_count + self._acceptance.at_most(undecided) > room:
            return None
        return Opening(self._begin(end), 0)

    def restore(self, version: int, *, signal: bool) -> int:
        """A group that an earlier attempt has finished, whose oldest token is of this version; returns its number."""
        group = self._begin(last_step(version, self.staleness))
        self.decided(group, signal=signal)
        return group

    def _begin(self, end: int) -> int:
        group, self._opened = self._opened, self._opened + 1
        self._last_steps[group] = end
        self._undecided[end] += 1
        return group

    def decided(self, group: int, *, signal: bool) -> None:
        """Keep a group with a signal for a batch, and make room for another in place of one without."""
        end = self._last_steps[group]
        self._undecided[end] -= 1
        self._acceptance.note(signal)
        if signal:
            self._ready.setdefault(end, set()).add(group)
            self._ready_count += 1
        else:
            del self._last_steps[group]
            self._dropped.append(group)

    def take(self, step: int) -> Release | None:
        """The groups with the earliest last steps, once nothing is lost by it."""
        assert step == self._next_step, f"step {step} was asked for where {self._next_step} is due"
        enough = self._ready_count >= self.want or self._ready_count + len(self._dropped) >= self.most_drawn
        if not enough or self._undecided[step]:
            return None
        if step < self.last and self._would_lose(step + 1):
            return None
        in_order = [g for end in sorted(self._ready) for g in sorted(self._ready[end])]
        chosen, left = in_order[: self.want], in_order[self.want :]
        expired = [g for g in left if self._last_steps[g] == step]
        self._forget([*chosen, *expired])
        self._next_step += 1
        dropped, self._dropped = (*self._dropped, *expired), []
        del self._undecided[step]
        return Release(
            step,
            groups=tuple(chosen),
            dropped=dropped,
            short_of=self.want - len(chosen),
            position=self._opened,
            rounds=1,
            pending=tuple(sorted(self._last_steps)),
        )

    def _would_lose(self, next_step: int) -> bool:
        """Whether groups that are not decided yet could come too late if a batch without them were formed now."""
        # What the batch leaves, counted: this is asked at every event while the learner waits.
        ready, room = dict[int, int](), self.want
        for end in sorted(self._ready):
            taken = min(room, len(self._ready[end]))
            ready[end], room = len(self._ready[end]) - taken, room - taken
        full = overbooked(ready, +self._undecided, next_step, self.want, self._acceptance)
        return full is not None and any(n and end <= full for end, n in self._undecided.items())

    def _forget(self, groups: Sequence[int]) -> None:
        for group in groups:
            end = self._last_steps.pop(group)
            self._ready[end].remove(group)
            if not self._ready[end]:
                del self._ready[end]
        self._ready_count -= len(groups)
