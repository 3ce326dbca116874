"""The scheduler of rollouts: a state machine from events to actions. No Ray, no clock and no engine in it.

Beside the groups that its window opens it runs groups that belong to no batch, those of an evaluation: their numbers
are below 0, they start before anything that the window would open, and the window never hears of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rlvr.rollout.streaming.fleet import Fleet
from rlvr.rollout.streaming.records import Action, Cancel, Release, Submit, Window


@dataclass(slots=True)
class _OpenGroup:
    """A group that is not decided yet."""

    version: int  # of the weights that it started on
    round: int
    unfinished: int  # samples


class Scheduler:
    """Keeps every engine at its concurrency with the groups that the window opens, and releases batches.

    Every method tells it what happened and returns what is to be done about it, in that order.
    """

    def __init__(self, window: Window, *, samples_per_group: int, capacity: int) -> None:
        self.window, self.samples_per_group = window, samples_per_group
        self.fleet = Fleet(capacity)
        self._wanted: int | None = None
        self._groups: dict[int, _OpenGroup] = {}
        self._asked: deque[int] = deque()  # groups that belong to no batch and have not started
        self._beside = 0  # number of the last such group

    def engine_up(self, engine: int, version: int) -> list[Action]:
        """An engine can generate, with the weights of this version."""
        self.fleet.add(engine, version)
        return self._next()

    def engine_down(self, engine: int) -> list[Action]:
        """An engine is lost with all that ran on it, which runs again elsewhere."""
        self.fleet.remove(engine)
        return self._next()

    def pushed(self, engine: int, version: int) -> list[Action]:
        """An engine has the weights of this version now."""
        self.fleet.lanes[engine].version = version
        return self._next()

    def ask(self, sizes: Sequence[int], version: int) -> tuple[range, list[Action]]:
        """Groups of so many samples that belong to no batch, on weights of this version or later; their numbers."""
        groups = range(self._beside - 1, self._beside - 1 - len(sizes), -1)
        self._beside -= len(sizes)
        for group, size in zip(groups, sizes, strict=True):
            self._groups[group] = _OpenGroup(version, 0, unfinished=size)
        self._asked.extend(groups)
        return groups, self._next()

    def finished(self, engine: int, group: int, sample: int) -> list[Action]:
        """An engine has finished a sample; one that it was not to run is ignored."""
        if self.fleet.finish(engine, group, sample):
            self._groups[group].unfinished -= 1
        return self._next()

    def complete(self, group: int) -> bool:
        """Whether every sample of an open group is finished."""
        return self._groups[group].unfinished == 0

    def graded(self, group: int, *, signal: bool) -> list[Action]:
        """A complete group is graded; without a signal it is not trained on."""
        assert self.complete(group), f"group {group} was graded before its samples were finished"
        del self._groups[group]
        self.window.decided(group, signal=signal)
        return self._next()

    def answered(self, group: int) -> list[Action]:
        """A complete group that belongs to no batch is graded."""
        assert group < 0, f"group {group} belongs to a batch"
        assert self.complete(group), f"group {group} was graded before its samples were finished"
        del self._groups[group]
        return self._next()

    def wanted(self, step: int) -> list[Action]:
        """The learner waits for the batch of this step."""
        self._wanted = step
        return self._next()

    def stopped(self) -> list[Action]:
        """No batch is wanted any more: nobody waits for what still runs, save for groups that belong to none."""
        gone = [
            Cancel(engine, group, tuple(sorted(samples)))
            for engine, lane in self.fleet.lanes.items()
            for group, samples in lane.running.items()
            if group >= 0
        ]
        for one in gone:
            self.fleet.cancel(one.engine, one.group)
        self.fleet.lost = deque(lost for lost in self.fleet.lost if lost[0] < 0)
        return [*gone, *self._next()]

    def _next(self) -> list[Action]:
        return [*self._released(), *self._submissions()]

    def _released(self) -> Iterator[Release]:
        if self._wanted is not None and (release := self.window.take(self._wanted)):
            self._wanted = None
            yield release

    def _submissions(self) -> Iterator[Submit]:
        while (engine := self.fleet.emptiest()) is not None:
            version = self.fleet.lanes[engine].version
            again = self._lost(version) or self._beside_batches(version)
            if again is None:
                opening = self.window.open(version)
                if opening is None:
                    return
                group, samples = opening.group, tuple(range(self.samples_per_group))
                self._groups[group] = _OpenGroup(version, opening.round, unfinished=len(samples))
            else:
                group, samples = again
            self.fleet.start(engine, group, samples)
            yield Submit(engine, group, samples, self._groups[group].round)

    def _lost(self, version: int) -> tuple[int, tuple[int, ...]] | None:
        """Samples to run again, unless these weights are older than those that the window counts on."""
        lost = self.fleet.lost
        return lost.popleft() if lost and self._groups[lost[0][0]].version <= version else None

    def _beside_batches(self, version: int) -> tuple[int, tuple[int, ...]] | None:
        """The next group that belongs to no batch, unless these weights are older than it asks for."""
        if not self._asked or self._groups[self._asked[0]].version > version:
            return None
        group = self._asked.popleft()
        return group, tuple(range(self._groups[group].unfinished))
