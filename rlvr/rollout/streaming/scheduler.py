"""The scheduler of rollouts: a state machine from events to actions. No Ray, no clock and no engine in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rlvr.rollout.streaming.fleet import Fleet
from rlvr.rollout.streaming.records import Action, Cancel, Release, Submit, Window


@dataclass(slots=True)
class _Open:
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
        self._groups: dict[int, _Open] = {}

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

    def wanted(self, step: int) -> list[Action]:
        """The learner waits for the batch of this step."""
        self._wanted = step
        return self._next()

    def stopped(self) -> list[Action]:
        """The run ends: nobody waits for what still runs."""
        return [
            Cancel(engine, group, tuple(sorted(samples)))
            for engine, lane in self.fleet.lanes.items()
            for group, samples in lane.running.items()
        ]

    def _next(self) -> list[Action]:
        return [*self._released(), *self._submissions()]

    def _released(self) -> Iterator[Release]:
        if self._wanted is not None and (release := self.window.take(self._wanted)):
            self._wanted = None
            yield release

    def _submissions(self) -> Iterator[Submit]:
        while (engine := self.fleet.emptiest()) is not None:
            version = self.fleet.lanes[engine].version
            again = self._lost(version)
            if again is None:
                opening = self.window.open(version)
                if opening is None:
                    return
                group, samples = opening.group, tuple(range(self.samples_per_group))
                self._groups[group] = _Open(version, opening.round, unfinished=len(samples))
            else:
                group, samples = again
            self.fleet.start(engine, group, samples)
            yield Submit(engine, group, samples, self._groups[group].round)

    def _lost(self, version: int) -> tuple[int, tuple[int, ...]] | None:
        """Samples to run again, unless these weights are older than those that the window counts on."""
        lost = self.fleet.lost
        return lost.popleft() if lost and self._groups[lost[0][0]].version <= version else None
