"""Grade many answers in killable worker processes, each under a deadline and a memory ceiling.

    with GraderPool(workers=8, deadline_seconds=5, memory_mb=1024) as pool:
        verdicts = pool.grade([GradeRequest("p0-s0", gold="12", response=r"... \\boxed{12}")])

Answers that plain text or integer comparison settles never leave the calling process; the rest goes out in
chunks. A worker that runs past the deadline, grows past the ceiling or dies is replaced, the sample it was on
is scored and saved, and its other samples are graded by another.
"""

import json
import logging
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Self

from rlvr.config import RewardConfig
from rlvr.errors import ActorError, ConfigError, DeadlineError
from rlvr.reward.extract import policy_named
from rlvr.reward.grader import GRADER_VERSION, grade_without_algebra
from rlvr.reward.verdict import DEFAULT_RULES, GradeRequest, Rules, Verdict, options_text
from rlvr.reward.verifiers import is_math
from rlvr.reward.workers.dispatch import Dispatcher
from rlvr.reward.workers.process import WorkerSettings, WorkItem

log = logging.getLogger(__name__)
OFFENDERS_FILE = "offending_samples.jsonl"
MIN_MEMORY_MB = 256  # a worker with sympy loaded is resident with about 100 MiB
_REBUILDS = 2  # of the whole pool, in one call
_IN_PROCESS_CHARS = 20_000  # longer responses are scanned by a worker, not by the caller


class GraderPool:
    """Worker processes that grade by the same rules for the whole run; needs Linux.

    `deadline_seconds` is wall time per sample, `memory_mb` the ceiling of one worker's resident size [MiB].
    `verifier` (a name, or `package.module:function`), `policy`, `correct_from` and `options` are what a request is
    graded by whose own rules are silent; `sources` are the rules that requests may name besides. Samples that timed out
    or failed are appended to `offending_samples.jsonl` in `save_folder`. Raises ConfigError for bad settings
    or a verifier that cannot be loaded, DeadlineError where the workers do not start in time.
    """

    def __init__(
        self,
        *,
        workers: int,
        deadline_seconds: float,
        memory_mb: int,
        policy: str = RewardConfig.policy,
        verifier: str | None = None,
        correct_from: float | None = None,
        options: str = "",
        sources: Iterable[Rules] = (),
        save_folder: Path | None = None,
        start_timeout_seconds: float = 60,
    ) -> None:
        if sys.platform != "linux":
            raise ConfigError(
                f"GraderPool kills and measures its workers through Linux calls; this is {sys.platform}"
            )
        if workers < 1 or deadline_seconds <= 0 or memory_mb < MIN_MEMORY_MB:
            raise ConfigError(
                f"workers={workers}, deadline_seconds={deadline_seconds}, memory_mb={memory_mb}: "
                f"expected workers >= 1, deadline_seconds > 0 and memory_mb >= {MIN_MEMORY_MB}"
            )
        self._own = Rules(verifier, policy, correct_from, options)
        rules = dict.fromkeys([self._own, *(one.over(self._own) for one in sources)])
        for one in rules:
            policy_named(str(one.policy))
        self._places = {one: place for place, one in enumerate(rules)}
        self.policy, self.verifier, self.version = policy, verifier, GRADER_VERSION
        self.deadline_seconds, self.memory_mb = deadline_seconds, memory_mb
        self._save_folder = save_folder
        self._lock = threading.Lock()  # one call at a time drives the workers; other threads queue up
        self._closed = False
        self._open = partial(
            Dispatcher,
            WorkerSettings(tuple(rules), memory_mb),
            size=workers,
            deadline_seconds=deadline_seconds,
            start_timeout_seconds=start_timeout_seconds,
        )
        self._dispatcher = self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def worker_pids(self) -> list[int]:
        """Process ids of the live workers; as many as `workers` whenever no call is running."""
        return [worker.pid for worker in self._dispatcher.workers]

    def grade(self, requests: Sequence[GradeRequest]) -> dict[str, Verdict]:
        """A verdict for every request, keyed by sample id, in the order of the requests; thread-safe.

        Where workers die for no sample's fault, all are started anew and what has no verdict yet is graded again.
        Raises ValueError for duplicate ids, RuntimeError for a closed pool, and ActorError or DeadlineError
        where that does not help.
        """
        repeated = [sample_id for sample_id, n in Counter(r.sample_id for r in requests).items() if n > 1]
        if repeated:
            raise ValueError(
                f"duplicate sample ids in one call to grade: {repeated[:5]}: expected each id once"
            )
        verdicts = {request.sample_id: self._grade_here(request) for request in requests}
        left = [request for request in requests if verdicts[request.sample_id] is None]

        def settle(position: int, verdict: Verdict) -> None:
            request = left[position]
            if verdicts[request.sample_id] is not None:
                raise RuntimeError(
                    f"sample {request.sample_id!r} was graded twice: this is a bug in the pool"
                )
            verdicts[request.sample_id] = verdict.named(request.sample_id)
            if verdict.failed:
                self._keep(request, verdict)

        with self._lock:
            if self._closed:
                raise RuntimeError("this GraderPool is closed: grade before close(), or start another pool")
            for attempt in range(_REBUILDS + 1):
                left = [request for request in left if verdicts[request.sample_id] is None]
                if not left:
                    break
                try:
                    self._dispatcher.run([self._work_item(request) for request in left], settle)
                except (ActorError, DeadlineError) as error:
                    if attempt == _REBUILDS:
                        raise
                    self._mend(error, [r for r in left if verdicts[r.sample_id] is None], again=attempt > 0)
        graded = {sample_id: verdict for sample_id, verdict in verdicts.items() if verdict is not None}
        if len(graded) != len(requests):
            raise RuntimeError(f"graded {len(graded)} of {len(requests)} samples: this is a bug in the pool")
        return graded

    def _mend(self, why: Exception, open_: Sequence[GradeRequest], *, again: bool) -> None:
        """Start all processes anew, unless only workers did not answer: these have been replaced."""
        whole = again or isinstance(why, ActorError)
        log.warning(
            "the graders are started again%s, and %d responses graded again (%s, ...): %s",
            "" if whole else " where they do not answer",
            len(open_),
            open_[0].sample_id if open_ else "none",
            why,
        )
        if whole:
            self._dispatcher.close()
            self._dispatcher = self._open()

    def close(self) -> None:
        """End every process of the pool, after the call in progress; closing twice is harmless."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._dispatcher.close()

    def _rules(self, request: GradeRequest) -> Rules:
        return self._own if request.rules is DEFAULT_RULES else request.rules.over(self._own)

    def _place(self, request: GradeRequest) -> int:
        rules = self._rules(request)
        if rules not in self._places:
            raise ValueError(
                f"sample {request.sample_id!r} is to be graded by {rules}, which were not among the `sources` that "
                "this pool was opened for"
            )
        return self._places[rules]

    def _work_item(self, request: GradeRequest) -> WorkItem:
        place = self._place(request)
        subject = request.row if self._dispatcher.reads_row[place] else request.gold
        return WorkItem(subject, request.response, place)

    def _grade_here(self, request: GradeRequest) -> Verdict | None:
        rules = self._rules(request)
        if not is_math(rules) or len(request.response) > _IN_PROCESS_CHARS:
            return None
        verdict = grade_without_algebra(request.gold, request.response, policy=str(rules.policy))
        if verdict is not None and verdict.failed:
            self._keep(request, verdict)
        return None if verdict is None else verdict.named(request.sample_id)

    def _keep(self, request: GradeRequest, verdict: Verdict) -> None:
        """Append a sample that could not be graded to the file of offenders."""
        if self._save_folder is None:
            return
        rules = self._rules(request)
        row = {
            "sample_id": request.sample_id,
            "problem_id": None if request.example is None else request.example.id,
            "outcome": str(verdict.outcome),
            "detail": verdict.detail,
            "seconds": verdict.seconds,
            "gold": request.gold,
            "response": request.response,
            "columns": dict(request.row.columns),
            "policy": rules.policy,
            "verifier": rules.verifier,
            "grader_version": self.version,
        }
        try:
            self._save_folder.mkdir(parents=True, exist_ok=True)
            with open(self._save_folder / OFFENDERS_FILE, "a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:  # no reason to end a training run
            log.warning(
                "%s: %s not kept (%s)", self._save_folder / OFFENDERS_FILE, request.sample_id, error.strerror
            )


def open_grader_pool(
    cfg: RewardConfig, sources: Iterable[Rules], *, workers: int, save_folder: Path | None = None
) -> GraderPool:
    """The graders of a run, an evaluation or an analysis: by `reward`, and by the rules that its sources name.

    Raises ConfigError and DeadlineError as `GraderPool` does.
    """
    return GraderPool(
        workers=workers,
        deadline_seconds=cfg.deadline_seconds,
        memory_mb=cfg.memory_mb,
        policy=cfg.policy,
        verifier=cfg.verifier,
        correct_from=cfg.correct_from,
        options=options_text(cfg.verifier_options),
        sources=sources,
        save_folder=save_folder,
    )
