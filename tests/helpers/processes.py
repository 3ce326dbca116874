"""Running the training command as a user would, and finding what it leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.helpers.paths import REPOSITORY
from tests.helpers.preloaded import Preloaded

MARK = "RLVR_TEST_RUN"
# Small enough for seconds, large enough for every stage to have work.
SMALL = (
    "steps=4",
    "data.prompts_per_step=4",
    "rollout.samples_per_prompt=4",
    "learner.updates_per_step=2",
    "data.eval=[{name:arithmetic_heldout,limit:8}]",
    "eval.samples_per_prompt=2",
    "eval.every=2",
    "cluster.threads_per_actor=1",
    "tracking.wandb=off",
    "rollout.kv_cache_mb=64",
)


def marked(mark: str, also: Callable[[psutil.Process], bool] = lambda process: True) -> list[psutil.Process]:
    """Living processes with this mark in their environment of which `also` holds."""
    found = []
    for process in psutil.process_iter():
        try:
            ours = process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE
            if ours and also(process):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


@dataclass
class Training:
    """A started `python -m rlvr.train`; all that it starts carries the same mark in its environment."""

    arguments: Sequence[str]
    env: dict[str, str] = field(default_factory=dict)  # with any it starts anew, with a hash seed of its own
    module: str = "rlvr.train"
    log: Path | None = None  # where its output goes; None: `wait` returns it

    def __post_init__(self) -> None:
        self.mark = uuid.uuid4().hex
        self._unnamed = tempfile.NamedTemporaryFile(suffix=".log")  # noqa: SIM115  # goes with this object
        self._output = self.log or Path(self._unnamed.name)
        variables = {**os.environ, MARK: self.mark, **self.env}
        self.process: subprocess.Popen[bytes] | Preloaded
        if not self.env:
            self.process = Preloaded(self.module, self.arguments, output=self._output, variables=variables)
            return
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", self.module, *self.arguments],
                cwd=REPOSITORY,
                env=variables,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait(self, timeout: float = 900) -> tuple[int, str]:
        """Exit code and everything printed."""
        code = self.process.wait(timeout)
        return code, self._output.read_text()

    def wait_until_said(self, words: str, times: int = 1, timeout: float = 900) -> None:
        """Return once its log has the words so often; fails if the run ends first."""
        assert self.log is not None
        end = time.monotonic() + timeout
        while (text := self.log.read_text()).count(words) < times:
            assert self.process.poll() is None, f"ended before it said {words!r}:\n{text}"
            assert time.monotonic() < end, f"{words!r} was not said within {timeout} s:\n{text}"
            time.sleep(0.05)

    def actor(self, name: str) -> psutil.Process:
        """The process of an actor, the youngest of that name."""
        return max(
            marked(self.mark, lambda process: process.environ().get("RLVR_ACTOR") == name),
            key=psutil.Process.create_time,
        )

    def wait_for(self, path: Path, timeout: float = 900) -> None:
        """Return once the file or folder exists; fails if the run ends first."""
        end = time.monotonic() + timeout
        while not path.exists():
            assert self.process.poll() is None, f"ended early:\n{self.wait()[1]}"
            assert time.monotonic() < end, f"{path} did not appear within {timeout} s"
            time.sleep(0.05)

    def survivors(self) -> list[psutil.Process]:
        """Living processes of this run."""
        found = {process.pid: process for process in marked(self.mark)}
        with suppress(psutil.NoSuchProcess):
            if self.process.poll() is None:
                found[self.process.pid] = psutil.Process(self.process.pid)
        return list(found.values())

    def leaves_nothing(self, timeout: float = 120) -> bool:
        """Whether all its processes are gone within the time; ends what is left, by process id."""
        end = time.monotonic() + timeout
        while self.survivors() and time.monotonic() < end:
            time.sleep(0.2)
        left = self.survivors()
        for process in left:
            process.kill()
        return not left

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the driver alone."""
        self.process.send_signal(number)


def train(*arguments: str, timeout: float = 900, **env: str) -> tuple[int, str, Training]:
    """Run to the end."""
    run = Training(arguments, env)
    code, output = run.wait(timeout)
    return code, output, run


def rows(folder: Path) -> list[dict[str, float]]:
    """metrics.jsonl without what depends on the clock."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [
        {k: v for k, v in json.loads(line).items() if not k.startswith(("seconds/", "rate/"))}
        for line in lines
    ]
