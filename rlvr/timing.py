"""Wall time, measured in one place: how long something took, and how long there is left to wait.

Only the grading pool looks at the clock itself: it compares times that two processes have written down.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Runs from when it is made."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds since it was made."""
        return time.perf_counter() - self._began


class PausedWatch:
    """Runs from when it is made, but not in pauses."""

    def __init__(self) -> None:
        self._watch, self._paused = Stopwatch(), 0.0
        self._pause: Stopwatch | None = None

    @property
    def seconds(self) -> float:
        """Seconds since it was made, without those of pauses."""
        standing = 0.0 if self._pause is None else self._pause.seconds
        return self._watch.seconds - self._paused - standing

    def pause(self) -> None:
        """Stand still; nothing happens in a pause."""
        self._pause = self._pause or Stopwatch()

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
    """So many seconds from when it is made."""

    def __init__(self, seconds: float) -> None:
        self._watch, self._seconds = Stopwatch(), seconds

    @property
    def left(self) -> float:
        """Seconds that are left, 0 once it has passed."""
        return max(0.0, self._seconds - self._watch.seconds)

    @property
    def passed(self) -> bool:
        return self._watch.seconds > self._seconds
