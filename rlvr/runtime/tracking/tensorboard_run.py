"""The run on TensorBoard: event files in its folder, which `tensorboard --logdir` shows while it trains."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rlvr.runtime.disk.folder import RunFolder

FOLDER = "tensorboard"
FLUSH_SECONDS = 10  # what a page that is open may lag behind


class TensorboardRun:
    """Scalars of every step under the names of metrics.jsonl; a resumed run takes back the steps that it does again.

    After its first failure, a full disk say, it stays silent and the training goes on.
    """

    def __init__(self, folder: RunFolder, first_step: int, note: Callable[[str], None]) -> None:
        self._note = note
        self._writer: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter

            # The evaluation of the step before the first is done already where a run is resumed, and kept.
            self._writer = SummaryWriter(
                str(folder.path / FOLDER),
                purge_step=first_step if first_step > 1 else None,
                flush_secs=FLUSH_SECONDS,
            )
        except Exception as error:  # packages that do not fit together fail in many ways
            self._stop(error)

    def log(self, row: Mapping[str, float], step: int) -> None:
        """Write the numbers of a step."""
        if self._writer is None:
            return
        try:
            for name, value in row.items():
                self._writer.add_scalar(name, value, step)
        except Exception as error:
            self._stop(error)

    def close(self, summary: Mapping[str, Any] | None) -> None:
        """Write what is left; the summary stands in summary.json."""
        if self._writer is not None:
            try:
                self._writer.close()
            except Exception as error:
                self._stop(error)

    def _stop(self, error: Exception) -> None:
        self._writer = None
        why = f"{type(error).__name__}: {error}"
        self._note(f"tensorboard failed and gets no more of this run: {why}; metrics.jsonl has everything")
