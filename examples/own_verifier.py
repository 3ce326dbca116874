"""A verifier of one's own: the last number of the response, right within one per cent of the gold answer.

    python -m rlvr.train recipe=grpo reward.verifier=own_verifier:near_enough

It runs in a worker process that is killed at `reward.deadline_seconds`. It may return True or False, a score in [0, 1],
or a `Verdict` where more is to be said. What it raises is a failure of the verifier and no wrong answer: a gold answer
that is no number is such a case, for it says nothing about the response.
"""

from __future__ import annotations

import math
import re

from rlvr.reward.verdict import Outcome, Verdict

NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def near_enough(gold: str, response: str) -> Verdict:
    """Compare the last number of the response with the gold answer.

    Raises:
        ValueError: the gold answer is no number.
    """
    wanted = float(gold)
    found = NUMBER.findall(response)
    if not found:
        return verdict(Outcome.NO_ANSWER, None, gold)
    right = math.isclose(float(found[-1]), wanted, rel_tol=0.01)
    return verdict(Outcome.CORRECT if right else Outcome.WRONG, found[-1], gold)


def verdict(outcome: Outcome, extracted: str | None, gold: str) -> Verdict:
    """A verdict; the pool fills in which sample it belongs to and how long it took."""
    return Verdict(sample_id="", outcome=outcome, extracted=extracted, gold=gold, seconds=0.0)
