"""Drive the workers: hand out chunks, collect results, end what breaks a limit, replace what ended.

Single-threaded by contract: the pool's lock lets one call in at a time. No thread runs between calls.
"""

import selectors
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from rlvr.errors import ActorError, ConfigError, DeadlineError
from rlvr.reward.grader import cut
from rlvr.reward.verdict import Outcome, Verdict
from rlvr.reward.workers.process import WorkerProcess, WorkerSettings, WorkerTemplate, WorkItem
from rlvr.timing import Deadline, standstills

_CHUNK_SIZE = 16  # samples that are sent to a worker at once, at most
_TICK_SECONDS = 0.02  # how often deadlines and memory are looked at
_MAX_FAULTS = (
    8  # deaths in one run that no sample explains: beyond it the workers are broken, not the samples
)


# Told the position in the caller's list and its verdict, without a sample id, as soon as it is known.
Settle = Callable[[int, Verdict], None]


class Dispatcher:
    """The live workers, always `size` of them between runs."""

    def __init__(
        self, settings: WorkerSettings, *, size: int, deadline_seconds: float, start_timeout_seconds: float
    ) -> None:
        self.settings = settings
        self.size = size
        self.deadline_seconds = deadline_seconds
        self.start_timeout_seconds = start_timeout_seconds
        self.selector = selectors.DefaultSelector()
        self.workers: list[WorkerProcess] = []
        self.reads_row: list[
            bool
        ] = []  # by place in the rules: whether its verifier reads more than the answer
        self._template = WorkerTemplate(settings, start_timeout_seconds)
        try:
            self.refill()
            self._await_ready()
        except BaseException:
            self.close()
            raise

    def run(self, samples: Sequence[WorkItem], settle: Settle) -> None:
        """Settle every sample exactly once; returns with all workers idle and at full strength."""
        try:
            _Run(self, samples, settle).loop()
        finally:
            for worker in list(self.workers):  # busy only where an exception ended the loop
                if worker.assigned or worker.resident_mb() > self.settings.memory_mb / 2:
                    self.drop(worker)
            self.refill()

    def close(self) -> None:
        for worker in list(self.workers):
            with suppress(ActorError, DeadlineError):  # without the template its workers are gone as well
                self.drop(worker)
        self.selector.close()
        self._template.close()

    def refill(self) -> None:
        while len(self.workers) < self.size:
            worker = WorkerProcess(self._template)
            self.workers.append(worker)
            self.selector.register(worker.replies, selectors.EVENT_READ, worker)

    def _await_ready(self) -> None:
        deadline = Deadline(self.start_timeout_seconds)
        while not all(worker.ready for worker in self.workers):
            events = self.selector.select(deadline.left)
            if not events and not deadline.left:
                raise DeadlineError(self.late())
            for key, _ in events:
                frames, closed = key.data.receive()
                self.note_start(key.data, frames)
                if closed:
                    raise ActorError(f"grading worker {key.data.pid} died during its start; see stderr")

    def late(self) -> str:
        """What is said where workers do not start in time."""
        names = dict.fromkeys(one.verifier for one in self.settings.rules if one.verifier is not None)
        loads = (
            f"; they import {', '.join(names)}: import what is slow to load only where it is needed"
            if names
            else ""
        )
        return f"grading workers did not start within {self.start_timeout_seconds:g} s{loads}"

    def note_start(self, worker: WorkerProcess, frames: list[Any]) -> None:
        for kind, content in frames:
            if kind == "error":
                verifier, reason = content
                raise ConfigError(f"verifier {verifier!r} cannot be loaded in a worker: {reason}")
            if kind == "ready":
                worker.ready, self.reads_row = True, content

    def drop(self, worker: WorkerProcess) -> None:
        try:
            worker.kill()
        finally:
            self.forget(worker)

    def forget(self, worker: WorkerProcess) -> None:
        self.workers.remove(worker)
        self.selector.unregister(worker.replies)
        self.watch_writing(worker, False)
        worker.close_pipes()

    def watch_writing(self, worker: WorkerProcess, wanted: bool) -> None:
        watched = worker.requests in self.selector.get_map()
        if wanted and not watched:
            self.selector.register(worker.requests, selectors.EVENT_WRITE, worker)
        elif watched and not wanted:
            self.selector.unregister(worker.requests)


class _Run:
    """The state of one `Dispatcher.run`."""

    def __init__(self, crew: Dispatcher, samples: Sequence[WorkItem], settle: Settle) -> None:
        self._crew, self._samples, self._settle_one = crew, samples, settle
        self._pending = deque(range(len(samples)))  # positions that no worker holds
        self._missing = len(samples)
        self._faults = 0

    def loop(self) -> None:
        next_check = time.monotonic() + _TICK_SECONDS
        while self._missing:
            self._crew.refill()
            self._hand_out()
            for key, _ in self._crew.selector.select(_TICK_SECONDS):
                worker = key.data
                if worker not in self._crew.workers:
                    continue  # ended by an earlier event of the same batch
                if key.fd == worker.requests:
                    worker.flush()
                    self._crew.watch_writing(worker, worker.wants_to_write)
                elif self._take_results(worker):
                    self._end(worker, None, Outcome.FAILED, "the worker died")
            if time.monotonic() >= next_check:
                self._check_limits()
                next_check = time.monotonic() + _TICK_SECONDS

    def _hand_out(self) -> None:
        for worker in self._crew.workers:
            while self._pending and worker.ready and not worker.wants_to_write:
                # Chunks shrink towards the end, so that the last ones finish at about the same time. While
                # they are large a worker holds one in reserve, and does not wait for this loop in between.
                size = max(1, min(_CHUNK_SIZE, len(self._pending) // (4 * self._crew.size)))
                if len(worker.assigned) > (size if size > 1 else 0):
                    break
                positions = [self._pending.popleft() for _ in range(size)]
                worker.submit(positions, [self._samples[position] for position in positions])
            self._crew.watch_writing(worker, worker.wants_to_write)

    def _take_results(self, worker: WorkerProcess) -> bool:
        """Settle what has come in; whether the worker has closed its end."""
        frames, closed = worker.receive()
        self._crew.note_start(worker, frames)
        for kind, rows in frames:
            for number, outcome, *found in rows if kind == "rows" else ():
                self._settle(worker.assigned.pop(number), Verdict("", Outcome(outcome), *found))
        return closed

    def _settle(self, position: int, verdict: Verdict) -> None:
        self._missing -= 1
        self._settle_one(position, verdict)

    def _check_limits(self) -> None:
        limit_seconds, limit_mb = self._crew.deadline_seconds, self._crew.settings.memory_mb
        start_limit = self._crew.start_timeout_seconds
        now = time.monotonic()
        for worker in list(self._crew.workers):
            running = worker.running()
            if running is None:
                waiting = worker.assigned or not worker.ready
                still = standstills.since(worker.waiting_since)
                if waiting and now - worker.waiting_since - still > start_limit:
                    raise DeadlineError(self._crew.late())
            elif running.seconds > limit_seconds:
                detail = f"no verdict within {limit_seconds:g} s"
                self._end(worker, running.number, Outcome.TIMED_OUT, detail)
            elif running.seconds > _TICK_SECONDS and (resident := worker.resident_mb()) > limit_mb:
                detail = f"memory: {resident:.0f} MiB resident, the ceiling is {limit_mb} MiB"
                self._end(worker, running.number, Outcome.FAILED, detail)

    def _end(self, worker: WorkerProcess, offender: int | None, outcome: Outcome, detail: str) -> None:
        """Kill a worker, charge the sample that it died on, and queue its other samples again.

        `offender` is the number of the sample that broke a limit. Had the worker moved on by the time it was
        killed, nobody is charged.
        """
        exit_code = worker.kill()
        self._take_results(worker)
        running = worker.running()
        self._crew.forget(worker)
        if running is not None and offender in (None, running.number):
            if offender is None:
                detail = f"{detail} with exit code {exit_code} (negative: a signal)"
            position = worker.assigned.pop(running.number)
            gold = cut(self._samples[position].gold)
            self._settle(position, Verdict("", outcome, None, gold, running.seconds, detail))
        elif offender is None:
            self._faults += 1
            if self._faults > _MAX_FAULTS + self._crew.size:
                raise ActorError(
                    f"{self._faults} workers died outside any sample, the last with code {exit_code}"
                )
        self._pending.extendleft(reversed(worker.assigned.values()))
