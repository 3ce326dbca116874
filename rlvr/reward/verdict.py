"""The records that cross the reward package's border: a request to grade and the verdict on it."""

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """What became of one answer. The last two say nothing about the answer: such a sample counts as missing."""

    CORRECT = "correct"
    WRONG = "wrong"
    NO_ANSWER = "no_answer"  # the response holds no answer in the form that the policy asks for
    TIMED_OUT = "timed_out"  # grading ran past the deadline and its worker was killed
    FAILED = "failed"  # grading crashed or passed the memory ceiling; the detail says which


FAILURES = frozenset({Outcome.TIMED_OUT, Outcome.FAILED})  # of the verifier, not of the answer


@dataclass(frozen=True, slots=True)
class GradeRequest:
    """One response to grade: written by the rollout, read by the grader.

    `sample_id` is unique within a call, `gold` is the reference answer: bare, boxed, or
    a solution that ends in "#### answer". `response` is the whole generated text.
    """

    sample_id: str
    gold: str
    response: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The grade of one response.

    `extracted` and `gold` are the answers that were compared, cleaned of markup and cut to 500 characters;
    `extracted` is None where no answer was found. `seconds` is the wall time of this one grading.
    `detail` explains every outcome that needs explaining and is empty otherwise.
    """

    sample_id: str
    outcome: Outcome
    extracted: str | None
    gold: str | None
    seconds: float
    detail: str = ""

    @property
    def correct(self) -> bool:
        return self.outcome is Outcome.CORRECT

    @property
    def failed(self) -> bool:
        """The verifier failed, so nothing is known about the answer."""
        return self.outcome in FAILURES
