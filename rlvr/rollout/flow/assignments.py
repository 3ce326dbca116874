"""Which request of a flow waits for which engine, or runs there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from rlvr.rollout.stepping import Request
from rlvr.timing import Patience, PausedWatch


class Assignments:
    """Requests by engine, from when the scheduler deals them out until the engine has finished them."""

    def __init__(self) -> None:
        self._fresh: dict[int, list[Request]] = defaultdict(list)
        self._cancelled: dict[int, list[str]] = defaultdict(list)
        self._keys: dict[int, set[str]] = defaultdict(set)  # all that an engine has not finished
        self.clock = PausedWatch()  # stands still while nothing is asked of any engine
        self._news: dict[int, float] = {}  # time of that clock at an engine's last finished sample
        self._named: dict[int, Patience] = {}  # engine -> since it was last overdue

    def assign(self, engine: int, request: Request) -> None:
        """An engine is to take this request on."""
        if not self._keys[engine]:
            self._news[engine] = self.clock.seconds
        self._fresh[engine].append(request)
        self._keys[engine].add(request.key)

    def cancel(self, engine: int, keys: Iterable[str]) -> None:
        """An engine is to drop these requests."""
        gone = self._keys[engine].intersection(keys)
        unsent = {request.key for request in self._fresh[engine]}
        self._fresh[engine] = [r for r in self._fresh[engine] if r.key not in gone]
        self._cancelled[engine] += sorted(gone - unsent)
        self._keys[engine] -= gone

    def take(self, engine: int, *, fresh: bool) -> tuple[Sequence[Request], Sequence[str]] | None:
        """What to tell an engine for its next slice; None: it has nothing to do."""
        new = self._fresh.pop(engine, []) if fresh else []
        waiting = len(self._fresh.get(engine, ()))
        if not new and len(self._keys[engine]) == waiting and not self._cancelled[engine]:
            return None
        return new, self._cancelled.pop(engine, [])

    def finished(self, engine: int, key: str) -> None:
        """An engine is done with a request."""
        self._keys[engine].discard(key)
        self._news[engine] = self.clock.seconds

    def lost(self, engine: int) -> None:
        """An engine has forgotten everything."""
        for table in (self._fresh, self._cancelled, self._keys, self._news):
            table.pop(engine, None)

    def holds(self, engine: int, key: str) -> bool:
        """Whether an engine has this and has not finished it."""
        return key in self._keys.get(engine, ())

    def held(self, engine: int) -> list[str]:
        """The keys that an engine has not finished."""
        return sorted(self._keys.get(engine, ()))

    def quiet_seconds(self, engine: int) -> float:
        """Since an engine finished a sample, or took work on after it had none; pauses do not count."""
        return self.clock.seconds - self._news.get(engine, self.clock.seconds)

    def overdue(self, engines: Iterable[int], limit: float) -> list[tuple[int, float, list[str]]]:
        """Those of the engines that hold something and have finished nothing for so long [s]: for how long, and what.

        Each is named once in `limit` seconds.
        """
        found = []
        for engine in engines:
            held, quiet, named = self.held(engine), self.quiet_seconds(engine), self._named.get(engine)
            if held and quiet >= limit and not (named and named.seconds < limit):
                self._named[engine] = Patience()
                found.append((engine, quiet, held))
        return found
