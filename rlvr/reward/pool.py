"""Grade many answers in killable worker processes, each under a deadline and a memory ceiling.

    with GraderPool(workers=8, deadline_seconds=5, memory_mb=1024) as pool:
        verdicts = pool.grade([GradeRequest("p0-s0", gold="12", response=r"... \\boxed{12}")])

Answers that plain text or integer comparison settles never leave the calling process; the rest goes out in
chunks, one chunk per worker at a time. A worker that runs past the deadline, grows past the ceiling or dies
is replaced, the sample it was on is scored and saved, and the rest of its chunk is graded by another.
"""

import json
import selectors
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from rlvr.reward.extract import policy_named
from rlvr.reward.grader import GRADER_VERSION, grade_without_algebra
from rlvr.reward.process import Template, WorkerProcess, WorkerSettings
from rlvr.reward.verdict import GradeRequest, Outcome, Verdict

OFFENDERS_FILE = "offending_samples.jsonl"
MIN_MEMORY_MB = 256  # a worker with sympy loaded is resident with about 100 MiB
_CHUNK_SIZE = 16  # samples that a worker holds at most
_TICK_SECONDS = 0.02  # how often deadlines and memory are looked at
_IN_PROCESS_CHARS = 20_000  # longer responses are scanned by a worker, not by the caller
_MAX_DEATHS_OUTSIDE_SAMPLES = 8  # in one call: beyond it the workers, not the samples, are broken


class GraderPool:
    """Worker processes that grade by one policy (or one plugged-in verifier) for the whole run; needs Linux.

    `deadline_seconds` is wall time per sample, `memory_mb` the ceiling of one worker's resident size [MiB].
    `verifier` names `package.module:function`, called with (gold, response) instead of our grader; the policy
    is then its own business. Samples that timed out or failed are appended to `offending_samples.jsonl` in
    `save_folder`. Raises ValueError for bad settings, RuntimeError where the workers do not start in time.
    """

    def __init__(
        self,
        *,
        workers: int,
        deadline_seconds: float,
        memory_mb: int,
        policy: str = "last_box",
        verifier: str | None = None,
        save_folder: Path | None = None,
        start_timeout_seconds: float = 60,
    ) -> None:
        if sys.platform != "linux":
            raise RuntimeError(
                f"GraderPool kills and measures its workers through Linux calls; this is {sys.platform}"
            )
        if workers < 1 or deadline_seconds <= 0 or memory_mb < MIN_MEMORY_MB:
            raise ValueError(
                f"workers={workers}, deadline_seconds={deadline_seconds}, memory_mb={memory_mb}: "
                f"expected workers >= 1, deadline_seconds > 0 and memory_mb >= {MIN_MEMORY_MB}"
            )
        policy_named(policy)
        self.policy, self.verifier, self.version = policy, verifier, GRADER_VERSION
        self.deadline_seconds, self.memory_mb = deadline_seconds, memory_mb
        self.size = workers
        self._save_folder = save_folder
        self._start_timeout_seconds = start_timeout_seconds
        self._lock = threading.Lock()  # one call at a time drives the workers; other threads queue up
        self._closed = False
        self._selector = selectors.DefaultSelector()
        self._workers: list[WorkerProcess] = []
        self._template = Template(WorkerSettings(policy, verifier, memory_mb), start_timeout_seconds)
        try:
            self._refill()
            self._await_start()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def worker_pids(self) -> list[int]:
        """Process ids of the live workers; as many as `workers` whenever no call is running."""
        return [worker.pid for worker in self._workers]

    def grade(self, requests: Sequence[GradeRequest]) -> dict[str, Verdict]:
        """A verdict for every request, keyed by sample id, in the order of the requests; thread-safe.

        Raises ValueError for duplicate ids and RuntimeError for a closed pool or workers that cannot start.
        """
        repeated = [sample_id for sample_id, n in Counter(r.sample_id for r in requests).items() if n > 1]
        if repeated:
            raise ValueError(
                f"duplicate sample ids in one call to grade: {repeated[:5]}: expected each id once"
            )
        verdicts: list[Verdict | None] = [self._grade_here(request) for request in requests]
        left = [position for position, verdict in enumerate(verdicts) if verdict is None]
        with self._lock:
            if self._closed:
                raise RuntimeError("this GraderPool is closed: grade before close(), or start another pool")
            if left:
                try:
                    _Call(self, requests, verdicts).run(left)
                finally:
                    self._drop_busy_workers()  # only after an exception is any worker still busy
                    self._refill()
        graded = {verdict.sample_id: verdict for verdict in verdicts if verdict is not None}
        if len(graded) != len(requests):
            raise RuntimeError(f"graded {len(graded)} of {len(requests)} samples: this is a bug in the pool")
        return graded

    def close(self) -> None:
        """End every process of the pool; further calls are no-ops."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for worker in list(self._workers):
                self._drop(worker)
            self._selector.close()
            self._template.close()

    def _grade_here(self, request: GradeRequest) -> Verdict | None:
        if self.verifier is not None or len(request.response) > _IN_PROCESS_CHARS:
            return None
        verdict = grade_without_algebra(request.gold, request.response, policy=self.policy)
        return None if verdict is None else _with_id(verdict, request.sample_id)

    def _await_start(self) -> None:
        deadline = time.monotonic() + self._start_timeout_seconds
        while not all(worker.ready for worker in self._workers):
            events = self._selector.select(max(0.0, deadline - time.monotonic()))
            if not events:
                raise RuntimeError(f"grading workers did not start within {self._start_timeout_seconds:g} s")
            for key, _ in events:
                frames, closed = key.data.receive()
                self._note_start(key.data, frames)
                if closed:
                    raise RuntimeError(f"grading worker {key.data.pid} died during its start; see stderr")

    def _note_start(self, worker: WorkerProcess, frames: list[Any]) -> None:
        for kind, content in frames:
            if kind == "error":
                raise RuntimeError(f"verifier {self.verifier!r} cannot be loaded in a worker: {content}")
            worker.ready = worker.ready or kind == "ready"

    def _refill(self) -> None:
        while len(self._workers) < self.size:
            worker = WorkerProcess(self._template)
            self._workers.append(worker)
            self._selector.register(worker.replies, selectors.EVENT_READ, worker)

    def _drop(self, worker: WorkerProcess) -> int:
        """Kill and forget a worker; its exit code."""
        self._workers.remove(worker)
        self._selector.unregister(worker.replies)
        if worker.wants_to_write:
            self._watch_writing(worker, False)
        try:
            return worker.kill()
        finally:
            worker.close_pipes()

    def _drop_busy_workers(self) -> None:
        for worker in [worker for worker in self._workers if worker.chunk]:
            self._drop(worker)

    def _watch_writing(self, worker: WorkerProcess, wanted: bool) -> None:
        watched = worker.requests in self._selector.get_map()
        if wanted and not watched:
            self._selector.register(worker.requests, selectors.EVENT_WRITE, worker)
        elif watched and not wanted:
            self._selector.unregister(worker.requests)


class _Call:
    """One call to `grade`: hands out chunks, collects results, and ends what breaks a limit."""

    def __init__(
        self, pool: GraderPool, requests: Sequence[GradeRequest], verdicts: list[Verdict | None]
    ) -> None:
        self._pool, self._requests, self._verdicts = pool, requests, verdicts
        self._chunks: deque[list[int]] = deque()
        self._missing = 0
        self._deaths_outside_samples = 0

    def run(self, positions: list[int]) -> None:
        self._missing = len(positions)
        size = max(1, min(_CHUNK_SIZE, len(positions) // (4 * self._pool.size)))
        self._chunks.extend(positions[i : i + size] for i in range(0, len(positions), size))
        next_check = time.monotonic() + _TICK_SECONDS
        while self._missing:
            self._pool._refill()
            self._hand_out()
            for key, _ in self._pool._selector.select(_TICK_SECONDS):
                worker = key.data
                if key.fd == worker.requests:
                    worker.flush()
                    self._pool._watch_writing(worker, worker.wants_to_write)
                elif worker in self._pool._workers:
                    self._collect(worker)
            if time.monotonic() >= next_check:
                self._check_limits()
                next_check = time.monotonic() + _TICK_SECONDS

    def _hand_out(self) -> None:
        for worker in self._pool._workers:
            if not self._chunks:
                return
            if worker.idle:
                chunk = self._chunks.popleft()
                samples = [(self._requests[i].gold, self._requests[i].response) for i in chunk]
                worker.submit(chunk, samples)
                self._pool._watch_writing(worker, worker.wants_to_write)

    def _collect(self, worker: WorkerProcess) -> None:
        closed = self._take_results(worker)
        if closed:
            self._end(worker, Outcome.FAILED, "the worker died")

    def _take_results(self, worker: WorkerProcess) -> bool:
        frames, closed = worker.receive()
        self._pool._note_start(worker, frames)
        for kind, rows in frames:
            if kind != "rows":
                continue
            for index, outcome, extracted, gold, seconds, detail in rows:
                position = worker.chunk[index]
                worker.reported.add(index)
                self._settle(position, Outcome(outcome), extracted, gold, seconds, detail)
        if worker.chunk and len(worker.reported) == len(worker.chunk):
            worker.finish_chunk()
        return closed

    def _settle(
        self,
        position: int,
        outcome: Outcome,
        extracted: str | None,
        gold: str | None,
        seconds: float,
        detail: str,
    ) -> None:
        request = self._requests[position]
        verdict = Verdict(request.sample_id, outcome, extracted, gold, seconds, detail)
        self._verdicts[position] = verdict
        self._missing -= 1
        if outcome in (Outcome.TIMED_OUT, Outcome.FAILED):
            self._pool_save(request, verdict)

    def _check_limits(self) -> None:
        pool = self._pool
        now = time.monotonic()
        for worker in list(pool._workers):
            resident = worker.resident_mb()
            if worker.running_seconds() > pool.deadline_seconds:
                self._end(worker, Outcome.TIMED_OUT, f"no verdict within {pool.deadline_seconds:g} s")
            elif resident > pool.memory_mb:
                self._end(
                    worker, Outcome.FAILED, f"memory: {resident:.0f} MiB, the ceiling is {pool.memory_mb}"
                )
            elif not worker.ready and now - worker.busy_since > pool._start_timeout_seconds:
                raise RuntimeError(
                    f"a replacement worker did not start within {pool._start_timeout_seconds:g} s"
                )
            elif worker.chunk and worker.running_index() is None and now - worker.busy_since > 30:
                self._end(worker, Outcome.FAILED, "the worker did not begin its chunk")
            elif worker.idle and resident > pool.memory_mb / 2:
                pool._drop(worker)  # back to the start size before the next chunk

    def _end(self, worker: WorkerProcess, outcome: Outcome, detail: str) -> None:
        """Kill a worker, charge the sample it was on, and queue the rest of its chunk again."""
        chunk, running, seconds = worker.chunk, worker.running_index(), worker.running_seconds()
        # Results may have come in since the last look; a sample that has one is not charged.
        self._take_results(worker)
        finished = set(worker.reported) if worker.chunk else set(range(len(chunk)))
        exit_code = self._pool._drop(worker)
        if running is not None and running not in finished:
            if detail == "the worker died":
                detail = f"the worker died with exit code {exit_code} (negative: a signal)"
            finished.add(running)
            self._settle(
                chunk[running], outcome, None, self._requests[chunk[running]].gold[:500], seconds, detail
            )
        elif len(finished) < len(chunk) or not chunk:
            self._deaths_outside_samples += 1
            if self._deaths_outside_samples > _MAX_DEATHS_OUTSIDE_SAMPLES:
                raise RuntimeError(
                    f"{self._deaths_outside_samples} grading workers died between samples: {detail}"
                )
        rest = [position for index, position in enumerate(chunk) if index not in finished]
        if rest:
            self._chunks.appendleft(rest)

    def _pool_save(self, request: GradeRequest, verdict: Verdict) -> None:
        pool = self._pool
        if pool._save_folder is None:
            return
        row = {
            "sample_id": request.sample_id,
            "outcome": str(verdict.outcome),
            "detail": verdict.detail,
            "seconds": verdict.seconds,
            "gold": request.gold,
            "response": request.response,
            "policy": pool.policy,
            "verifier": pool.verifier,
            "grader_version": pool.version,
        }
        pool._save_folder.mkdir(parents=True, exist_ok=True)
        with open(pool._save_folder / OFFENDERS_FILE, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def _with_id(verdict: Verdict, sample_id: str) -> Verdict:
    return Verdict(
        sample_id, verdict.outcome, verdict.extracted, verdict.gold, verdict.seconds, verdict.detail
    )
