"""Groups of a flow whose samples come in one by one, and are graded as they come."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from rlvr.config import Config
from rlvr.reward.score import score_samples
from rlvr.reward.verdict import Verdict
from rlvr.reward.workers.pool import GraderPool
from rlvr.rollout.generation import Generation
from rlvr.rollout.pool import samples_of
from rlvr.timing import Stopwatch
from rlvr.types import Group, Prompt, Sample, Tokenizer


@dataclass(slots=True)
class _Growing:
    prompt: Prompt
    size: int
    samples: dict[int, Sample] = field(default_factory=dict)  # by place
    verdicts: dict[str, Verdict] = field(default_factory=dict)  # by sample id


class GrowingGroups:
    """Groups by number, from their first request until all samples are graded."""

    def __init__(self, graders: GraderPool, tokenizer: Tokenizer, cfg: Config) -> None:
        self._graders, self._tokenizer, self._cfg = graders, tokenizer, cfg
        self._groups: dict[int, _Growing] = {}
        self._members: dict[str, tuple[int, int]] = {}  # sample id -> group and place in it
        self._grading: dict[Future[dict[str, Verdict]], Stopwatch] = {}
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="grading")
        self.seconds = 0.0  # spent on grading, waiting for the graders included

    def __contains__(self, number: int) -> bool:
        return number in self._groups

    def begin(self, number: int, prompt: Prompt, size: int) -> None:
        """A group of so many responses to this prompt is about to grow."""
        self._groups[number] = _Growing(prompt, size)

    def prompt(self, number: int) -> Prompt:
        """What a group responds to."""
        return self._groups[number].prompt

    def expect(self, sample_id: str, number: int, place: int) -> None:
        """A response of this id will be this member."""
        self._members[sample_id] = number, place

    def member(self, sample_id: str) -> tuple[int, int]:
        """The group of an expected response, and its place there."""
        return self._members[sample_id]

    def add(self, finished: Sequence[tuple[str, Generation]]) -> None:
        """Have responses graded, given with their ids."""
        requests = []
        for sample in samples_of([key for key, _ in finished], [g for _, g in finished], self._tokenizer):
            number, place = self._members[sample.id]
            growing = self._groups[number]
            growing.samples[place] = sample
            requests += growing.prompt.problem.grade_requests([(sample.id, sample.text)])
        self._grading[self._worker.submit(self._graders.grade, requests)] = Stopwatch()

    def decided(self) -> list[tuple[int, Group]]:
        """Groups whose last sample has been graded since the last call.

        Raises:
            RlvrError: grading failed.
        """
        found = []
        for future in [future for future in self._grading if future.done()]:
            self.seconds += self._grading.pop(future).seconds
            for key, verdict in future.result().items():
                number, _ = self._members.pop(key)
                growing = self._groups[number]
                growing.verdicts[key] = verdict
                if len(growing.verdicts) == growing.size:
                    found.append((number, self._scored(self._groups.pop(number))))
        return found

    def _scored(self, growing: _Growing) -> Group:
        samples = tuple(growing.samples[place] for place in sorted(growing.samples))
        limit = self._cfg.rollout.max_response_tokens
        return Group(growing.prompt, score_samples(samples, growing.verdicts, self._cfg.reward, limit))

    def pending(self) -> list[str]:
        """Ids of responses that are sampled or graded."""
        return sorted(self._members)

    def close(self) -> None:
        """Grade no more."""
        self._worker.shutdown(wait=False, cancel_futures=True)
