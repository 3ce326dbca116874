"""Wall time, measured in one place: how long something took, and how long there is left to wait.

Only the grading pool looks at the clock itself: it compares times that two processes have written down.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)
# A thread that looks every TICK_SECONDS and comes so late has not been allowed to run.
STANDSTILL_SECONDS = 5.0
TICK_SECONDS = 1.0


class Standstills:
    """When this process stood still: it was stopped by a signal, its job suspended, or its container paused.

    What it waits for mostly stood still as well, so that no deadline counts such a time.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._looked: float | None = None  # None: nobody looks regularly
        self._found: list[tuple[float, float]] = []  # end, seconds
        self._rests, self._thread = threading.Event(), threading.Thread(daemon=True)

    def watch(self) -> None:
        """Look from now on, in a thread; once is enough."""
        if not self._thread.is_alive():
            self.forget()
            self.look()
            self._rests = threading.Event()
            self._thread = threading.Thread(target=self._look_on, name="standstills", daemon=True)
            self._thread.start()

    def _look_on(self) -> None:
        while not self._rests.wait(TICK_SECONDS):
            self.look()

    def rest(self) -> None:
        """Look no more, as before `watch`: whoever has asked for a run may go on for long after it."""
        self._rests.set()
        if self._thread.is_alive():
            self._thread.join()
        self.forget()

    def look(self) -> None:
        """Note a standstill that has just ended; at any time, for a waiting thread may run before the other."""
        with self._lock:
            now = self._clock()
            gap = 0.0 if self._looked is None else now - self._looked
            self._looked = now
            if gap > STANDSTILL_SECONDS:
                self._found.append((now, gap - TICK_SECONDS))
        if gap > STANDSTILL_SECONDS:
            log.warning(
                "this process stood still for %.0f s (stopped, suspended or out of cores); no deadline counts them",
                gap,
            )

    def since(self, moment: float) -> float:
        """Seconds of standstill after a moment of `time.monotonic`, of this process or of a child."""
        if self._looked is None:
            return 0.0
        self.look()
        with self._lock:
            return sum(min(seconds, end - moment) for end, seconds in self._found if end > moment)

    def forget(self) -> None:
        """Start anew: in a forked process nobody looks, and the lock may be held by a thread that it does not have."""
        self._looked, self._lock, self._found = None, threading.Lock(), []


standstills = Standstills()
os.register_at_fork(after_in_child=standstills.forget)


class Stopwatch:
    """Runs from when it is made."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds since it was made."""
        return time.perf_counter() - self._began


class Patience(Stopwatch):
    """Runs from when it is made, but not while this process stands still: what deadlines go by."""

    def __init__(self) -> None:
        super().__init__()
        self._moment = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since it was made, without those of standstills."""
        return max(0.0, super().seconds - standstills.since(self._moment))


class PausedWatch:
    """Runs from when it is made, but not in pauses and not while this process stands still."""

    def __init__(self) -> None:
        self._watch, self._paused = Patience(), 0.0
        self._pause: Patience | None = None

    @property
    def seconds(self) -> float:
        """Seconds since it was made, without those of pauses."""
        standing = 0.0 if self._pause is None else self._pause.seconds
        return self._watch.seconds - self._paused - standing

    def pause(self) -> None:
        """Stand still; nothing happens in a pause."""
        self._pause = self._pause or Patience()

    def resume(self) -> None:
        """Run on; nothing happens outside a pause."""
        if self._pause is not None:
            self._paused += self._pause.seconds
            self._pause = None


class PhaseClock(Stopwatch):
    """Adds up wall time by phase name."""

    def __init__(self) -> None:
        super().__init__()
        self.phases: dict[str, float] = {}  # name -> seconds

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time the block under this name."""
        watch = Stopwatch()
        try:
            yield
        finally:
            self.phases[name] = self.phases.get(name, 0.0) + watch.seconds


class Deadline:
    """So many seconds from when it is made, during which this process does not stand still."""

    def __init__(self, seconds: float) -> None:
        self._watch, self._seconds = Patience(), seconds

    @property
    def left(self) -> float:
        """Seconds that are left, 0 once it has passed."""
        return max(0.0, self._seconds - self._watch.seconds)

    @property
    def passed(self) -> bool:
        return self._watch.seconds > self._seconds

    def allows(self, attempt: Callable[[float], bool]) -> bool:
        """Whether the attempt, which is given a time to wait [s], succeeds before it passes."""
        while not attempt(min(self.left, TICK_SECONDS)):
            if not self.left:
                return False
        return True
