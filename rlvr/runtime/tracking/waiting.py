"""What a run says until its first step, so that nobody looks at a screen, or a log, that stands still.

Every phase has a line when it begins. While it lasts, a line names what is still pending, at least every ten seconds;
on a terminal, rows with bars do.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from rlvr.cluster.board import READY, Doing
from rlvr.runtime.tracking.output import lasting_output

QUIET_SECONDS = 8.0  # after so many without a line one is due; looked at every LOOK_SECONDS
LOOK_SECONDS = 1.0
BETWEEN = "on the way to the first step"

Reports = Callable[[], dict[str, Doing]]


@dataclass(frozen=True, slots=True)
class Wait:
    """Something that is waited for."""

    name: str
    doing: Doing
    seconds: float  # since it was first seen in this phase

    def __str__(self) -> str:
        return f"{self.name}: {self.doing}, {self.seconds:.0f} s"


class Waiting:
    """What is waited for, and when something was last said of it; looks at the clock that it is given.

    `say` prints a line; `reports` tells what every actor is busy with.
    """

    def __init__(
        self, say: Callable[[str], None], reports: Reports, clock: Callable[[], float] = monotonic
    ) -> None:
        self._say, self._reports, self._clock = say, reports, clock
        self._lock = threading.RLock()
        self._phase, self._since, self._last = BETWEEN, clock(), clock()
        self._begun: dict[str, float] = {}  # who is pending in this phase -> since when
        self._announce = False

    @contextmanager
    def phase(self, what: str, *, announce: bool = False) -> Iterator[None]:
        """Something that may take long; with `announce` a line says when each actor in it is ready."""
        with self._lock:
            outer = self._phase
            self._phase, self._since, self._announce, self._begun = what, self._clock(), announce, {}
        self.note(f"{what} ...")
        try:
            yield
        finally:
            self.look()
            with self._lock:
                self._phase, self._since, self._announce = outer, self._clock(), False

    def note(self, text: str) -> None:
        """Say something; nothing more is due for a while."""
        with self._lock:
            self._last = self._clock()
            self._say(text)

    def rows(self) -> list[Wait]:
        """The phase, then every actor that is busy in it; says which have become ready since it was last asked."""
        with self._lock:
            now, reports = self._clock(), self._reports()
            for name, doing in reports.items():
                if doing != READY:
                    self._begun.setdefault(name, now)
                elif name in self._begun:
                    seconds = now - self._begun.pop(name)
                    if self._announce:
                        self.note(f"{name}: ready after {seconds:.0f} s")
            busy = [
                Wait(name, reports[name], now - since)
                for name, since in self._begun.items()
                if name in reports
            ]
            return [Wait(self._phase, Doing(""), now - self._since), *sorted(busy, key=lambda row: row.name)]

    def look(self) -> None:
        """Say what is pending, where nothing has been said for long."""
        rows = self.rows()
        with self._lock:
            if self._clock() - self._last >= QUIET_SECONDS:
                pending = "; ".join(map(str, rows[1:]))
                self.note(
                    f"{rows[0].name}: {rows[0].seconds:.0f} s so far" + (f" ({pending})" if pending else "")
                )


class StartConsole:
    """Shows what is waited for, once entered, until `close`: rows with bars on a terminal, lines elsewhere.

    The run goes on where standard output is closed.
    """

    def __init__(self, mode: str, reports: Reports) -> None:
        self.console = Console(highlight=False, soft_wrap=True)
        self._output = lasting_output()  # a run does not end because nobody reads what it says
        self._quiet = mode == "off"
        self.waiting = Waiting(self._print, reports)
        self.live = sys.stdout.isatty() if mode == "auto" else mode == "live"
        self._bars = Bars(self.console) if self.live else None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="what the start waits for", daemon=True)

    def __enter__(self) -> StartConsole:
        self._output.__enter__()
        if not self._quiet:
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
        self._output.__exit__(None, None, None)

    @property
    def over(self) -> bool:
        """Whether nothing is waited for any more."""
        return self._over.is_set()

    def close(self) -> None:
        """The first step is done, or the run is over."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._bars is not None:
            self._bars.bars.stop()

    def _print(self, text: str) -> None:
        if not self._quiet:
            self.console.print(text, markup=False)
            self.console.file.flush()  # a log file is read while it grows

    def _watch(self) -> None:
        if self._bars is not None:
            self._bars.bars.start()
        while not self._over.wait(LOOK_SECONDS):
            if self._bars is None:
                self.waiting.look()
            else:
                self._bars.draw(self.waiting.rows())


class Bars:
    """The rows on a terminal, each with a bar that fills or, where nothing can be counted, moves."""

    def __init__(self, console: Console) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[doing]}"),
        )
        self.bars = Progress(*columns, console=console, transient=True)
        self._tasks: dict[str, TaskID] = {}

    def draw(self, rows: list[Wait]) -> None:
        """Show these rows and no others."""
        for gone in set(self._tasks) - {row.name for row in rows}:
            self.bars.remove_task(self._tasks.pop(gone))
        for row in rows:
            if row.name not in self._tasks:
                self._tasks[row.name] = self.bars.add_task(row.name, total=None, doing="")
            said = f"{row.doing} {row.seconds:.0f} s".strip()
            total = row.doing.total or None
            self.bars.update(self._tasks[row.name], completed=row.doing.done, total=total, doing=said)
