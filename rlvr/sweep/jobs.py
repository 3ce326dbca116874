"""Running the jobs of a sweep as processes, as many side by side as there is room for.

A job alone on the machine writes to the console. Where jobs run side by side, each writes to `console.log` in
its own folder.
"""

from __future__ import annotations

import ctypes
import os
import re
import select
import shlex
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from rlvr.sweep.slots import Need, Place, Room, place, side_by_side

STOP_SECONDS = 120.0  # what the runs together may take to close their engines before they are killed
LOG_NAME = "console.log"
_POLL_SECONDS = 0.2
_TAIL_BYTES = 1 << 16  # what a pipe holds, too
_CHUNKS = 4  # read from one job before the others have their turn
_PR_SET_PDEATHSIG = 1
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_ERROR_LINE = re.compile(r"[\w.]*(Error|Exception|Interrupt)(: |$)")


@dataclass(frozen=True, slots=True)
class Task:
    """One job that is ready to start."""

    name: str
    module: str  # what `python -m` starts
    arguments: tuple[str, ...]
    need: Need
    folder: Path  # of the run

    @property
    def log(self) -> Path:
        """Where its output goes unless it runs alone."""
        return self.folder / LOG_NAME


class Child:
    """One running job.

    Raises:
        OSError: the log cannot be written or the process cannot be started.
    """

    def __init__(self, task: Task, place: Place, logged: bool) -> None:
        self.task, self.place, self._logged = task, place, logged
        self._tail = b""
        self._log_error = ""
        self.output: IO[bytes] | None = None
        command = [sys.executable, "-m", task.module, *task.arguments]
        shown = shlex.join(["python", *command[1:]])
        env = dict(os.environ)
        if place.gpus:
            env["CUDA_VISIBLE_DEVICES"] = ",".join(place.gpus)
        if not logged:
            print(shown, flush=True)
            self.process = _start(command, env)
            return
        task.folder.mkdir(parents=True, exist_ok=True)
        self._log = os.open(task.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            _write(self._log, f"=== {time.strftime('%Y-%m-%d %H:%M:%S')} {shown}\n".encode())
            # unbuffered, so that the log and the message about a job that is killed have its last words
            self.process = _start(command, {**env, "PYTHONUNBUFFERED": "1"}, stdout=subprocess.PIPE)
        except BaseException:
            os.close(self._log)
            raise
        self.output = self.process.stdout
        assert self.output is not None
        os.set_blocking(self.output.fileno(), False)

    def copy(self) -> None:
        """Copy what the job has written to its log; a log that cannot be written must not stop the job."""
        for _ in range(_CHUNKS):
            if self.output is None:
                return
            try:
                chunk = os.read(self.output.fileno(), _TAIL_BYTES)
            except BlockingIOError:
                return
            if not chunk:
                self.close()
                return
            self._tail = (self._tail + chunk)[-_TAIL_BYTES:]
            try:
                _write(self._log, chunk)
            except OSError as error:
                self._log_error = f", which is incomplete ({error.strerror})"

    def close(self) -> None:
        """Stop listening; a process that outlives the job may still hold the other end."""
        if self.output is not None:
            self.output.close()
            os.close(self._log)
            self.output = None

    def problem(self) -> str:
        """Why the ended job did not finish; empty if it did."""
        code = self.process.returncode
        self.copy()
        self.close()
        if code == 0:
            return ""
        said = f"exit code {code}" if code > 0 else f"ended by {signal.Signals(-code).name}"
        if not self._logged:
            return f"{said}, see its output above"
        last = last_words(self._tail.decode(errors="replace"))
        return f"{said}: {last or 'without a word'}\n    output in {self.task.log}{self._log_error}"


def _write(file: int, text: bytes) -> None:
    while text:  # a nearly full disk takes a part
        text = text[os.write(file, text) :]


def _start(command: Sequence[str], env: dict[str, str], stdout: int | None = None) -> subprocess.Popen[bytes]:
    """Start a process that is told to end (SIGINT) if this one is killed."""
    libc = ctypes.CDLL(None)

    def prepare() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell ignores it for commands in the background
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)  # see _uninterrupted
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGINT)

    return subprocess.Popen(
        command,
        env=env,
        stdout=stdout,
        stderr=None if stdout is None else subprocess.STDOUT,
        start_new_session=True,  # so that Ctrl-C reaches the run once, through this process
        preexec_fn=prepare,
    )


def last_words(output: str) -> str:
    """The last line of a job's output that names an error, else its last line."""
    lines = [line.strip() for line in _COLOUR.sub("", output).replace("\r", "\n").splitlines()]
    lines = [line for line in lines if line]
    errors = [line for line in lines if _ERROR_LINE.match(line)]
    return (errors or lines or [""])[-1][:300]


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C back while a child starts, so that no child runs without being known."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def run_tasks(
    tasks: Sequence[Task],
    room: Room,
    *,
    on_start: Callable[[Task, bool], None],
    on_end: Callable[[Task, str], None],
) -> None:
    """Run all jobs, each as soon as there is room; `on_end` gets what went wrong, or nothing.

    `on_start` is told whether the job's output goes to its log. There is no deadline here: a run watches over
    its own waits. Ctrl-C and SIGTERM are passed on once to all running jobs, as SIGINT because Ray ends a
    driver rudely on SIGTERM; the jobs get STOP_SECONDS to close their engines, a second Ctrl-C kills them.
    """
    logged = side_by_side([task.need for task in tasks], room)
    waiting, running = deque(tasks), list[Child]()
    try:
        while waiting or running:
            while waiting and (found := place(waiting[0].need, room, [c.place for c in running])):
                task = waiting.popleft()
                on_start(task, logged)
                try:
                    with _uninterrupted():
                        running.append(Child(task, found, logged))
                except OSError as error:
                    on_end(task, f"cannot be started: {error.filename or task.module}: {error.strerror}")
            _listen(running)
            for child in [c for c in running if c.process.poll() is not None]:
                running.remove(child)
                on_end(child.task, child.problem())
    except BaseException:
        stop(running)
        raise


def _listen(children: Sequence[Child]) -> None:
    """Copy output as it comes, for a moment.

    No threads: when this process is killed, the kernel passes the jobs from thread to thread, and they would
    be told to end once for each, the second time in the middle of closing.
    """
    outputs = {child.output: child for child in children if child.output is not None}
    for ready in select.select(list(outputs), [], [], _POLL_SECONDS)[0]:
        outputs[ready].copy()


def stop(children: Sequence[Child]) -> None:
    """Ask all to end, wait for them together, and kill those that do not."""
    for child in children:
        child.process.send_signal(signal.SIGINT)
    end = time.monotonic() + STOP_SECONDS
    try:
        while any(child.process.poll() is None for child in children) and time.monotonic() < end:
            _listen(children)
    finally:
        for child in children:
            if child.process.poll() is None:
                child.process.kill()
                child.process.wait()
            child.copy()
            child.close()
