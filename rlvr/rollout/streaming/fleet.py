"""The engines as the scheduler sees them: what runs where, and where there is room."""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field


@dataclass(slots=True)
class Lane:
    """One engine."""

    version: int  # of its weights
    running: dict[int, set[int]] = field(default_factory=dict)  # group -> its samples that run here
    load: int = 0  # samples
    alive: bool = True


class Fleet:
    """Engines with the samples that run on them, and samples that lost theirs."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity  # samples that one engine advances together
        self.lanes: dict[int, Lane] = {}
        self.lost: deque[tuple[int, tuple[int, ...]]] = deque()  # (group, samples) to run again
        self._by_load: list[
            tuple[int, int]
        ] = []  # heap of (load, engine); entries of other loads are outdated

    def add(self, engine: int, version: int) -> None:
        """An engine is there, or there again."""
        assert engine not in self.lanes or not self.lanes[engine].alive, f"engine {engine} is there already"
        self.lanes[engine] = Lane(version)
        self._moved(engine)

    def remove(self, engine: int) -> None:
        """An engine is gone, and what ran on it is to run again."""
        lane = self.lanes[engine]
        lane.alive = False
        self.lost.extend((group, tuple(sorted(samples))) for group, samples in lane.running.items())
        lane.running, lane.load = {}, 0

    def emptiest(self) -> int | None:
        """The living engine with the least to do, the first of equals; None where none has room."""
        while self._by_load:
            load, engine = self._by_load[0]
            lane = self.lanes[engine]
            if lane.alive and lane.load == load:
                return engine if load < self.capacity else None
            heapq.heappop(self._by_load)
        return None

    def start(self, engine: int, group: int, samples: tuple[int, ...]) -> None:
        """Samples begin to run."""
        lane = self.lanes[engine]
        lane.running.setdefault(group, set()).update(samples)
        lane.load += len(samples)
        self._moved(engine)

    def finish(self, engine: int, group: int, sample: int) -> bool:
        """A sample is done; False where this engine was not to run it (any more)."""
        lane = self.lanes.get(engine)
        if lane is None or sample not in lane.running.get(group, ()):
            return False
        lane.running[group].remove(sample)
        if not lane.running[group]:
            del lane.running[group]
        lane.load -= 1
        self._moved(engine)
        return True

    def cancel(self, engine: int, group: int) -> None:
        """What an engine runs of a group runs no more."""
        lane = self.lanes[engine]
        lane.load -= len(lane.running.pop(group))
        self._moved(engine)

    def _moved(self, engine: int) -> None:
        heapq.heappush(self._by_load, (self.lanes[engine].load, engine))
