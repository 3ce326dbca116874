"""Majority voting (self-consistency): the exact expected accuracy of a vote over k samples."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from rlvr.reward.rules.answer import vote_key
from rlvr.stats.accuracy import Bools, Doubles, as_graded

MOST_VOTERS = 1000  # beyond, binomial coefficients no longer fit a double


def majority_at_k(answers: Sequence[Sequence[str | None]], correct: ArrayLike, k: int) -> Doubles:
    """Return the expected accuracy of a majority vote over k samples of each problem, [P], exactly.

    The expectation is over which k of the n samples vote and over ties, which are broken evenly. Samples
    without an answer (None) do not vote; without any vote the answer is wrong. Answers vote together if their
    texts are equal, or they are the same number (1/2 and 0.5) or the same list in any order (1, 2 and 2, 1); where
    those were graded differently, their mean counts. Samples on which the verifier failed are left out, and nan stands
    for a problem with fewer than k others. Raises ValueError for k outside 1..n and for n > 1000. (Wang et al. 2023,
    "Self-Consistency Improves Chain of Thought Reasoning".)
    """
    as_graded(correct)
    graded = np.asarray(correct)
    n = graded.shape[1]
    if not 1 <= k <= n <= MOST_VOTERS:
        raise ValueError(f"majority@{k} of {n} samples: expected 1 <= k <= n <= {MOST_VOTERS}")
    if len(answers) != len(graded) or any(len(row) != n for row in answers):
        raise ValueError(f"answers must be {len(graded)} rows of {n}, as correct is")
    return np.array([_majority_of_one(row, right, k) for row, right in zip(answers, graded, strict=True)])


def _majority_of_one(answers: Sequence[str | None], right: Bools | Doubles, k: int) -> float:
    known = ~np.isnan(right)
    if known.sum() < k:
        return math.nan
    kept = [text for text, there in zip(answers, known, strict=True) if there]
    answers, right = [None if text is None else vote_key(text) for text in kept], right[known]
    votes = Counter(answers)
    silent = votes.pop(None, 0)
    total = 0.0
    for answer, count in votes.items():
        worth = float(np.mean([ok for text, ok in zip(answers, right, strict=True) if text == answer]))
        if worth > 0:
            others = [number for text, number in votes.items() if text != answer]
            total += worth * _chance_to_win(count, others, silent, k)
    return total


def _chance_to_win(own: int, others: list[int], silent: int, k: int) -> float:
    """The chance that an answer given `own` times wins a vote among k samples; a tie of s counts 1/s.

    For each number t of its votes, counts the draws by a generating polynomial: ways[v, s] is the number of
    ways in which the answers seen so far get v votes together, none more than t and s of them exactly t.
    """
    ways_in_all = math.comb(own + sum(others) + silent, k)
    chance = 0.0
    for t in range(1, min(own, k) + 1):
        rest = k - t
        ways = np.zeros((rest + 1, len(others) + 1))
        for quiet in range(min(silent, rest) + 1):
            ways[quiet, 0] = math.comb(silent, quiet)
        for count in others:
            grown = np.zeros_like(ways)
            for votes in range(min(count, t, rest) + 1):
                kept, tied = ways[: rest + 1 - votes], int(votes == t)
                grown[votes:, tied:] += math.comb(count, votes) * kept[:, : ways.shape[1] - tied]
            ways = grown
        shares = ways[rest] / np.arange(1, ways.shape[1] + 1)
        chance += math.comb(own, t) * float(shares.sum()) / ways_in_all
    return chance
