"""The pool's side of its processes: starting the template, and pipes and kill switch of one worker."""

import json
import marshal
import mmap
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from rlvr.errors import ActorError, DeadlineError
from rlvr.reward.example import Example
from rlvr.reward.verdict import Rules
from rlvr.reward.workers.worker import HEADER, PROGRESS
from rlvr.timing import standstills

_REPLY_SECONDS = 30.0  # the template only forks and reaps; more than this means that it is gone


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What every worker is told at its start; `memory_mb` is the ceiling of its resident size in MiB."""

    rules: tuple[Rules, ...]  # what a sample is graded by is told as a place in them
    memory_mb: int


class WorkerTemplate:
    """The process that workers are forked from (`rlvr.reward.workers.worker`), and the only one started from here."""

    def __init__(self, settings: WorkerSettings, start_timeout_seconds: float) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        package_root = str(Path(__file__).resolve().parents[3])
        search_path = [package_root, *(path or os.getcwd() for path in sys.path)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(search_path), "OMP_NUM_THREADS": "1"}
        with theirs:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "rlvr.reward.workers.worker",
                    str(theirs.fileno()),
                    _as_json(settings),
                ],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=2,  # a verifier's prints belong to the log, not into this program's output
                env=environment,
            )
        try:
            self._receive(start_timeout_seconds, "start up")
        except BaseException:
            self.close()
            raise

    def fork(self, descriptors: list[int]) -> int:
        with suppress(BrokenPipeError):  # the missing answer is reported below, with the template's exit code
            socket.send_fds(self._control, [b"fork"], descriptors)
        return int(self._receive(_REPLY_SECONDS, "fork a worker"))

    def reap(self, pid: int) -> int:
        """Collect a dead worker; its exit code, negative for a signal."""
        with suppress(BrokenPipeError):
            self._control.send(str(pid).encode())
        return int(self._receive(_REPLY_SECONDS, f"reap worker {pid}"))

    def check_alive(self) -> None:
        if self._process.poll() is not None:
            raise ActorError(
                f"the graders' template process ended with exit code {self._process.returncode} (negative: "
                "a signal) and took its workers along: close this pool and start another"
            )

    def close(self) -> None:
        self._control.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _receive(self, timeout_seconds: float, purpose: str) -> bytes:
        message = f"the graders' template process did not {purpose}"
        self._control.settimeout(timeout_seconds)
        try:
            reply = self._control.recv(64)
        except TimeoutError:
            raise DeadlineError(f"{message} within {timeout_seconds:g} s") from None
        if not reply:
            raise ActorError(f"{message}: it has ended; its own messages are on stderr")
        return reply


def _as_json(settings: WorkerSettings) -> str:
    rules = [astuple(one) for one in settings.rules]
    return json.dumps({"rules": rules, "memory_mb": settings.memory_mb})


@dataclass(frozen=True, slots=True)
class WorkItem:
    """A sample on its way to a worker."""

    subject: Example | str  # the row, or its gold answer where that is all that the verifier reads
    response: str
    rules: int  # place in the settings' rules

    @property
    def gold(self) -> str:
        return self.subject if isinstance(self.subject, str) else self.subject.answer


@dataclass(frozen=True, slots=True)
class Running:
    """The sample that a worker is on: its running number, and how long the worker has been at it [s]."""

    number: int
    seconds: float


class WorkerProcess:
    """One worker and the samples that it holds.

    Both pipes are non-blocking on this side, so a worker that stopped reading can never hold the pool.
    """

    def __init__(self, template: WorkerTemplate) -> None:
        self._template = template
        their_requests, self.requests = os.pipe()
        self.replies, their_replies = os.pipe()
        progress = os.memfd_create("rlvr-grader-progress")
        os.ftruncate(progress, PROGRESS.size)
        self._progress = mmap.mmap(progress, PROGRESS.size)
        PROGRESS.pack_into(self._progress, 0, 0.0, -1)
        try:
            self.pid = template.fork([their_requests, their_replies, progress])
        except BaseException:
            self.close_pipes()
            raise
        finally:
            for descriptor in (their_requests, their_replies, progress):
                os.close(descriptor)
        os.set_blocking(self.requests, False)
        os.set_blocking(self.replies, False)
        self.ready = False
        self.waiting_since = time.monotonic()  # start of the process, then of each hand-over and each reply
        self.assigned: dict[
            int, int
        ] = {}  # running number -> position in the caller's list, in working order
        self._next_number = 0
        self._unsent = memoryview(b"")
        self._received = bytearray()

    @property
    def wants_to_write(self) -> bool:
        return len(self._unsent) > 0

    def submit(self, positions: list[int], samples: list[WorkItem]) -> None:
        """Hand over a chunk; only while nothing is left to write. A row that samples share is sent once."""
        examples: dict[int, tuple[int, tuple[Any, ...]]] = {}  # identity -> place, fields
        rows = []
        for sample in samples:
            subject: str | int
            if isinstance(sample.subject, str):
                subject = sample.subject
            else:
                placed = examples.setdefault(id(sample.subject), (len(examples), sample.subject.as_fields()))
                subject = placed[0]
            rows.append((subject, sample.response, sample.rules))
        payload = marshal.dumps((self._next_number, [fields for _, fields in examples.values()], rows))
        self._unsent = memoryview(HEADER.pack(len(payload)) + payload)
        for position in positions:
            self.assigned[self._next_number] = position
            self._next_number += 1
        self.waiting_since = time.monotonic()
        self.flush()

    def flush(self) -> None:
        """Write what the pipe takes; a broken pipe is left for the reading side to notice."""
        try:
            while self._unsent:
                self._unsent = self._unsent[os.write(self.requests, self._unsent[: 1 << 20]) :]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            self._unsent = memoryview(b"")

    def receive(self) -> tuple[list[Any], bool]:
        """The complete frames that are here, and whether the worker has closed its end."""
        closed = False
        try:
            while piece := os.read(self.replies, 1 << 20):
                self._received += piece
            closed = True
        except BlockingIOError:
            pass
        self.waiting_since = time.monotonic()
        frames: list[Any] = []
        while len(self._received) >= HEADER.size:
            end = HEADER.size + HEADER.unpack_from(self._received)[0]
            if len(self._received) < end:
                break
            frames.append(marshal.loads(bytes(self._received[HEADER.size : end])))
            del self._received[:end]
        return frames, closed

    def running(self) -> Running | None:
        """The sample in work; None without one that is begun and not reported."""
        # The worker writes the start before the number and this side reads the number first, so a start is
        # never older than its number: at worst the time reads too short, and no sample is ended too early.
        number = PROGRESS.unpack_from(self._progress)[1]
        started = PROGRESS.unpack_from(self._progress)[0]
        if number not in self.assigned:
            return None
        return Running(number, time.monotonic() - started - standstills.since(started))

    def resident_mb(self) -> float:
        try:
            with open(f"/proc/{self.pid}/statm") as statm:
                fields = statm.read().split()
        except OSError:
            return 0.0
        return int(fields[1]) * mmap.PAGESIZE / 2**20

    def kill(self) -> int:
        """End the process whatever it is doing; its exit code, -9 unless it had ended by itself."""
        self._template.check_alive()  # while it lives, an unreaped pid cannot have been given to another process
        os.kill(self.pid, signal.SIGKILL)
        return self._template.reap(self.pid)

    def close_pipes(self) -> None:
        os.close(self.requests)
        os.close(self.replies)
        self._progress.close()
