"""How many responses of a call vLLM has finished, told through the progress bar that it takes."""

from __future__ import annotations

import io
from typing import Any

from tqdm import tqdm

from rlvr.cluster.board import READY, REPORT_SECONDS, Doing, report


class FinishedResponses(tqdm):
    """A bar that draws nothing and reports instead; `of` is the number of responses to come."""

    monitor_interval = 0  # no thread that redraws

    def __init__(self, *args: Any, of: int, **kwargs: Any) -> None:
        self._of = of
        quiet = {"file": io.StringIO(), "mininterval": REPORT_SECONDS, "leave": False}
        super().__init__(*args, **kwargs | quiet)

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        """Report instead of drawing; vLLM makes a first bar, over its requests, while it takes them in."""
        report(Doing("generates", self.n if self.iterable is None else 0, self._of, "responses"))
        return True

    def close(self) -> None:
        """The call is done, or its requests are taken in."""
        super().close()
        if self.iterable is None:
            report(READY)
