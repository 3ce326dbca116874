"""What one sees while a run goes on: the console, metrics.jsonl, wandb and TensorBoard."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from rlvr.config import Config
from rlvr.reward.verdict import FAILURES
from rlvr.runtime.disk.folder import FIRST, LAST, RunFolder
from rlvr.runtime.evaluation import EvalReport
from rlvr.runtime.tracking.tensorboard_run import TensorboardRun
from rlvr.runtime.tracking.waiting import StartConsole
from rlvr.runtime.tracking.wandb_run import WandbRun

PHASES = ("generate", "reward", "score", "update", "push")


class Tracker:
    """Writes every metric to metrics.jsonl, to the console, and to wandb and TensorBoard if configured.

    `start` shows what the run waits for, until the first step; `goes_on`: the run continues just after the last step
    that it has recorded.
    """

    def __init__(
        self, cfg: Config, folder: RunFolder, first_step: int, start: StartConsole, *, goes_on: bool = False
    ) -> None:
        self._cfg, self._folder, self._start = cfg, folder, start
        self._done_before = first_step - 1
        self._recent: deque[float] = deque(maxlen=20)  # seconds of the latest steps
        self._progress: Progress | None = None
        if start.live:
            self._progress = Progress(
                TextColumn("training"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.fields[left]}"),
                console=start.console,
                transient=True,
            )
            self._task = self._progress.add_task("", total=cfg.steps, completed=self._done_before, left="")
        self._goes_on = goes_on
        self._boards: list[WandbRun | TensorboardRun] = []

    def open_boards(self) -> None:
        """Begin the run on wandb and TensorBoard, which takes seconds: best while the actors start."""
        self._boards.append(WandbRun(self._cfg, self._folder, self.note, goes_on=self._goes_on))
        if self._cfg.tracking.tensorboard:
            self._boards.append(TensorboardRun(self._folder, self._done_before + 1, self.note))

    @contextmanager
    def phase(self, what: str, *, announce: bool = False) -> Iterator[None]:
        """Something that may take long; has a line of its own until the first step (rlvr.runtime.tracking.waiting)."""
        if self._start.over:
            yield
            return
        with self._start.waiting.phase(what, announce=announce):
            yield

    def note(self, text: str) -> None:
        """A line for the reader, not for the record."""
        self._start.waiting.note(text)

    def step(self, step: int, metrics: dict[str, float]) -> None:
        """Record one training step."""
        self._folder.append_metrics({"step": step, "kind": "train", **metrics})
        for board in self._boards:
            board.log(metrics, step)
        self._recent.append(metrics["seconds/step"])
        left = self._time_left(step)
        self._start.close()
        self.note(step_line(step, self._cfg.steps, metrics, left))
        if self._progress is not None:
            self._progress.start()
            self._progress.update(self._task, completed=step, left=left)

    def evaluation(self, step: int, reports: tuple[EvalReport, ...]) -> None:
        """Record an evaluation after `step` steps."""
        row: dict[str, float] = {}
        for r in reports:
            row |= evaluation_metrics(r)
            weights = "" if r.versions is None else " (weights {}..{})".format(*r.versions)
            failed = sum(r.outcomes.get(outcome.value, 0) for outcome in FAILURES)
            self.note(
                f"eval after {step} steps{weights}  {r.name}: {r.accuracy:.3f} (95% {r.ci_low:.3f}..{r.ci_high:.3f}, "
                f"{r.problems} problems x {r.samples_per_problem}), length {r.mean_length:.1f}"
                + (f", failed {failed}" if failed else "")
            )
        self._folder.append_metrics({"step": step, "kind": "eval", **row})
        for board in self._boards:
            board.log(row, step)

    def _time_left(self, step: int) -> str:
        """At the pace of the latest steps; evaluations and checkpoints come on top."""
        seconds = sum(self._recent) / len(self._recent) * (self._cfg.steps - step)
        return f"{int(seconds // 60)}:{int(seconds % 60):02d} left"

    def close(self, summary: dict[str, Any] | None = None) -> None:
        """Flush everything; with a summary the wandb run carries it."""
        self._start.close()
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
        for board in self._boards:
            board.close(summary)


def evaluation_metrics(r: EvalReport) -> dict[str, float]:
    """The metrics of one set."""
    found = {
        f"eval/{r.name}/accuracy": r.accuracy,
        f"eval/{r.name}/ci_low": r.ci_low,
        f"eval/{r.name}/ci_high": r.ci_high,
        f"eval/{r.name}/length": r.mean_length,
        f"eval/{r.name}/truncated": r.truncated,
    }
    found |= {f"eval/{r.name}/outcome/{k}": float(v) for k, v in r.outcomes.items()}
    if r.versions is not None:
        first, last = r.versions
        found |= {f"eval/{r.name}/{FIRST}": float(first), f"eval/{r.name}/{LAST}": float(last)}
    return found


def step_line(step: int, steps: int, metrics: dict[str, float], left: str) -> str:
    """The console line of a step."""
    parts = [
        f"step {step:>4}/{steps}",
        f"reward {metrics['reward/mean']:+.3f}",
        f"acc {metrics['accuracy']:.3f}{_by_source(metrics)}",
        f"len {metrics['length/mean']:.1f}",
    ]
    failed = sum(metrics.get(f"outcome/{outcome.value}", 0) for outcome in FAILURES)
    if failed:
        parts.append(f"failed {failed:.0f}")
    if "js_base/p50" in metrics:
        marks = "/".join(f"{metrics[f'js_base/p{p}']:.3f}" for p in (50, 95, 99))
        parts.append(f"JS p50/95/99 {marks}")
    if "token_weight/gini" in metrics:
        parts.append(f"weights gini {metrics['token_weight/gini']:.3f}")
    if "gradient/top5" in metrics:
        parts.append(f"gradient top 5% {metrics['gradient/top5']:.2f}")
    if "mismatch/mean" in metrics:
        parts.append(f"mismatch {metrics['mismatch/mean']:.1e}")
    elif metrics.get("mismatch/compared_tokens") == 0:
        parts.append("mismatch not compared")
    parts.append(f"{metrics['rate/tokens_per_second']:.0f} tok/s")
    times = " ".join(
        f"{name} {metrics[f'seconds/{name}']:.2f}" for name in PHASES if f"seconds/{name}" in metrics
    )
    return "  ".join([*parts, f"{times} s", left])


def _by_source(metrics: dict[str, float]) -> str:
    """The accuracy of each source of a mixture, in brackets."""
    found = [
        f"{key.removeprefix('source/').removesuffix('/accuracy')} {value:.3f}"
        for key, value in metrics.items()
        if key.startswith("source/") and key.endswith("/accuracy")
    ]
    return f" ({', '.join(found)})" if found else ""
