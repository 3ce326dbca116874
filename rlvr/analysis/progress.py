"""How far a long command is: a bar at the bottom of a terminal, and a line for every part that is finished."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from rlvr.timing import Stopwatch


class PartsDone(Progress):
    """Counts parts of a known number; use it as a context.

    The time left is at the pace of the parts done here, not of those found finished.
    """

    def __init__(self, what: str, total: int, done: int = 0) -> None:
        columns = (
            TextColumn(what),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
        )
        console = Console(highlight=False, soft_wrap=True)
        super().__init__(*columns, console=console, transient=True, disable=not sys.stdout.isatty())
        self._total, self._done, self._found = total, done, done
        self._watch = Stopwatch()
        self._bar = self.add_task("", total=total, completed=done, left="")

    def done(self, text: str) -> None:
        """One more part is finished; says so with the time that is left."""
        self._done += 1
        pace = self._watch.seconds / (self._done - self._found)
        left = f"about {pace * (self._total - self._done):.0f} s left"
        self.console.print(f"{text}; {left}", markup=False)
        self.console.file.flush()
        self.update(self._bar, completed=self._done, left=left)
