"""The records that cross the reward package's border: how to grade, a request to grade, and the verdict on it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from rlvr.reward.example import Example


class Outcome(StrEnum):
    """What became of one answer. The last two say nothing about the answer: such a sample counts as missing."""

    CORRECT = "correct"
    WRONG = "wrong"
    NO_ANSWER = "no_answer"  # the response holds no answer in the form that the policy asks for
    TIMED_OUT = "timed_out"  # grading ran past the deadline and its worker was killed
    FAILED = "failed"  # grading crashed or passed the memory ceiling; the detail says which


DECIDED = frozenset({Outcome.CORRECT, Outcome.WRONG})  # there was an answer, and it was judged
FAILURES = frozenset({Outcome.TIMED_OUT, Outcome.FAILED})  # of the verifier, not of the answer


@dataclass(frozen=True, slots=True)
class Rules:
    """How the answers of one data source are graded; what is None or empty is as the grader pool's own rules say."""

    verifier: str | None = None  # a name in rlvr.reward.verifiers, or package.module:attribute; None: math
    policy: str | None = None  # what counts as an answer, a name in rlvr.reward.extract
    correct_from: float | None = None  # least score that is correct; None: as the verifier says
    options: str = ""  # keyword arguments of the verifier as JSON, see `options_text`

    def over(self, own: Rules) -> Rules:
        """These rules with those of the pool where they are silent; options go with the verifier that they are for."""
        return Rules(
            own.verifier if self.verifier is None else self.verifier,
            own.policy if self.policy is None else self.policy,
            own.correct_from if self.correct_from is None else self.correct_from,
            self.options if self.options or self.verifier is not None else own.options,
        )


DEFAULT_RULES = Rules()  # silent on everything


def options_text(options: Mapping[str, Any]) -> str:
    """A verifier's options as the text that `Rules` holds, so that equal options are equal rules."""
    return json.dumps(dict(options), sort_keys=True) if options else ""


@dataclass(frozen=True, slots=True)
class GradeRequest:
    """One response to grade: written by the rollout, read by the grader.

    `sample_id` is unique within a call, `gold` is the reference answer: bare, boxed, or
    a solution that ends in "#### answer". `response` is the whole generated text. `example` is the row, for verifiers
    that read more of it than the answer; None: there is no more to it.
    """

    sample_id: str
    gold: str
    response: str
    example: Example | None = None
    rules: Rules = DEFAULT_RULES

    @property
    def row(self) -> Example:
        """The row, also where there is no more to it than a gold answer."""
        return self.example or Example(self.sample_id, "", self.gold, "")


@dataclass(frozen=True, slots=True)
class Verdict:
    """The grade of one response.

    `extracted` and `gold` are the answers that were compared, cleaned of markup and cut to 500 characters;
    `extracted` is None where no answer was found. `seconds` is the wall time of this one grading.
    `detail` explains every outcome that needs explaining and is empty otherwise. `score` in [0, 1] is the partial
    credit that the verifier gave; None: it gave none.
    """

    sample_id: str
    outcome: Outcome
    extracted: str | None
    gold: str | None
    seconds: float
    detail: str = ""
    score: float | None = None

    def named(self, sample_id: str) -> Verdict:
        """The same verdict on that sample; written out, for it is done once for every response."""
        return Verdict(
            sample_id, self.outcome, self.extracted, self.gold, self.seconds, self.detail, self.score
        )

    @property
    def credit(self) -> float:
        """The score; without one, 1 for a correct answer and 0 for any other."""
        return float(self.correct) if self.score is None else self.score

    @property
    def correct(self) -> bool:
        return self.outcome is Outcome.CORRECT

    @property
    def failed(self) -> bool:
        """The verifier failed, so nothing is known about the answer."""
        return self.outcome in FAILURES
