"""The processes that grade: a template that imports once, and the killable workers forked from it.

`python -m rlvr.reward.workers.worker CONTROL_FD SETTINGS_JSON` is started by `rlvr.reward.workers.pool` only. The
template is single-threaded and never grades, so forking it is safe and costs milliseconds: a replacement does not pay
for importing sympy again. The template exits on EOF of its control socket, that is when the pool's process is
gone however it ended, and the kernel then kills its workers, hung ones included (PR_SET_PDEATHSIG). The
template itself has no such signal: it would fire when the *thread* that started the pool ends.
"""

import ctypes
import gc
import io
import json
import marshal
import mmap
import os
import resource
import signal
import socket
import struct
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from rlvr.errors import DataError
from rlvr.reward import grader
from rlvr.reward.example import Example, MissingColumnError
from rlvr.reward.verdict import Outcome, Rules, Verdict
from rlvr.reward.verifiers import MATH, LoadedVerifier, is_math, load_verifier
from rlvr.timing import Stopwatch

HEADER = struct.Struct("<Q")  # length of the marshalled frame that follows
PROGRESS = struct.Struct("<dq")  # monotonic start of the running sample [s], its running number
FLUSH_SECONDS = 0.02  # results are sent at the end of a chunk, or once this much time has gone by
MOST_DETAIL = 1000  # characters of a reason that a verdict records
MOST_PRINTED = 20_000  # characters that the verifiers of one worker may print
_ORPHAN_CHECK_SECONDS = 2.0
_PR_SET_PDEATHSIG = 1

# running number, outcome, extracted, gold, seconds, detail, score
ResultRow = tuple[int, str, str | None, str | None, float, str, float | None]


def main() -> None:
    """Serve fork and reap orders until the pool closes the control socket."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the pool decides
    control = socket.socket(fileno=int(sys.argv[1]))
    settings = json.loads(sys.argv[2])
    rules = [Rules(*fields) for fields in settings["rules"]]
    if any(is_math(one) or str(one.verifier).startswith(f"{grader.__name__}:") for one in rules):
        grader.warm_up()
    gc.collect()
    gc.freeze()  # keeps the shared pages shared in the forks
    with suppress(BrokenPipeError, ConnectionResetError):  # the pool's process has gone meanwhile
        _obey(control, rules, settings["memory_mb"])


def _obey(control: socket.socket, rules: list[Rules], memory_mb: int) -> None:
    """Fork and reap as the pool says, until it closes its end or is gone."""
    libc = ctypes.CDLL(None, use_errno=True)
    pool_pid, template_pid = os.getppid(), os.getpid()
    control.settimeout(_ORPHAN_CHECK_SECONDS)
    control.send(b"ready")
    while True:
        try:
            order, descriptors, _, _ = socket.recv_fds(control, 64, 3)
        except TimeoutError:
            if os.getppid() == pool_pid:
                continue
            return  # the pool's process is gone, though a fork of it still holds the socket open
        if not order:
            return
        if order == b"fork":
            pid = os.fork()
            if pid == 0:
                control.close()
                libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
                if os.getppid() != template_pid:
                    os._exit(1)
                requests, replies, progress = descriptors
                _run_worker(requests, replies, progress, rules, memory_mb)
            for descriptor in descriptors:
                os.close(descriptor)
            control.send(str(pid).encode())
        else:  # a pid: only now does it stop being a zombie, so the pool never signals a recycled pid
            _, status = os.waitpid(int(order), 0)
            control.send(str(os.waitstatus_to_exitcode(status)).encode())


def _run_worker(requests: int, replies: int, progress: int, rules: list[Rules], memory_mb: int) -> None:
    """Grade chunks from the request pipe until its EOF; never returns."""
    exit_code = 1
    try:
        _limit_memory(memory_mb)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        sys.stdout, sys.stderr = _Capped(sys.stdout), _Capped(sys.stderr)
        graders = _load_verifiers(replies, rules)
        if graders is not None:
            _write_frame(replies, ("ready", [one.reads_row for one in graders]))
            with mmap.mmap(progress, PROGRESS.size) as shared:
                _serve(requests, replies, shared, graders)
        exit_code = 0
    except Exception:  # reported here, because the exit below leaves no trace of it
        traceback.print_exc()
    finally:
        os._exit(exit_code)  # a fork must not run the template's clean-up


def _limit_memory(memory_mb: int) -> None:
    """A backstop at twice the ceiling, for allocations too sudden for the pool, which watches the resident size."""
    page_count = int(Path("/proc/self/statm").read_text().split()[0])
    limit = page_count * mmap.PAGESIZE + 2 * memory_mb * 2**20
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


class _Capped(io.TextIOBase):
    """Passes on what a verifier prints until it is too much for a log; the rest is dropped, which is said once."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream, self._left = stream, MOST_PRINTED

    def write(self, text: str) -> int:
        if self._left > 0:
            shown, self._left = text[: self._left], self._left - len(text)
            if self._left <= 0:
                shown += f"\n[grading worker {os.getpid()}: what it prints from here on is dropped]\n"
            with suppress(OSError):  # nobody reads this log any more
                self._stream.write(shown)
                self._stream.flush()
        return len(text)


def _load_verifiers(replies: int, rules: list[Rules]) -> list[LoadedVerifier] | None:
    """What grades by each of the rules; None, and the reason sent to the pool, where one cannot be loaded."""
    found = []
    for one in rules:
        try:
            found.append(load_verifier(one))
        except Exception as error:  # a user's module; the pool raises it where the user can read it
            _write_frame(replies, ("error", (one.verifier or MATH, f"{type(error).__name__}: {error}")))
            return None
    return found


def _serve(requests: int, replies: int, shared: mmap.mmap, graders: list[LoadedVerifier]) -> None:
    while (frame := _read_frame(requests)) is not None:
        first_number, examples, samples = frame
        packed = [marshal.dumps(fields) for fields in examples]
        rows: list[ResultRow] = []
        flushed = time.monotonic()
        for index, (subject, response, which) in enumerate(samples):
            now = time.monotonic()
            if rows and now - flushed > FLUSH_SECONDS:
                _write_frame(replies, ("rows", rows))
                rows, flushed = [], now
            PROGRESS.pack_into(shared, 0, now, first_number + index)
            # Each response meets the row as it was, whatever the verifier has done to the one before.
            seen = subject if isinstance(subject, str) else Example(*marshal.loads(packed[subject]))
            rows.append(_grade_one(first_number + index, seen, response, graders[which]))
        _write_frame(replies, ("rows", rows))


def _grade_one(number: int, subject: Example | str, response: str, grade: LoadedVerifier) -> ResultRow:
    watch = Stopwatch()
    try:
        verdict = grade(subject, response)
    except MemoryError:
        verdict = _failed(subject, "memory: allocation refused")
    except (MissingColumnError, DataError) as error:  # about the row, not about the response
        verdict = _failed(subject, str(error))
    except Exception as error:  # the response is untrusted, and a user's verifier may raise anything
        verdict = _failed(subject, f"the grader raised {type(error).__name__}: {str(error)[:200]}")
    seconds = watch.seconds
    found = verdict.extracted, verdict.gold, seconds, verdict.detail[:MOST_DETAIL], verdict.score
    return number, str(verdict.outcome), *found


def _failed(subject: Example | str, detail: str) -> Verdict:
    gold = subject if isinstance(subject, str) else subject.answer
    return Verdict("", Outcome.FAILED, None, grader.cut(gold), 0.0, detail)


def _read_frame(descriptor: int) -> Any:
    header = _read_exactly(descriptor, HEADER.size)
    return (
        None if header is None else marshal.loads(_read_exactly(descriptor, HEADER.unpack(header)[0]) or b"")
    )


def _read_exactly(descriptor: int, size: int) -> bytes | None:
    pieces = []
    while size:
        piece = os.read(descriptor, min(size, 1 << 20))
        if not piece:
            return None
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def _write_frame(descriptor: int, content: Any) -> None:
    payload = marshal.dumps(content)
    rest = memoryview(HEADER.pack(len(payload)) + payload)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


if __name__ == "__main__":
    main()
