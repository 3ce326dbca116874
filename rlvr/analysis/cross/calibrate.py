"""Find the threshold with which a rule switches a given share of the tokens.

The share cannot be read off the primary model's own responses: a switch changes everything after it. So the
pilot problems are written again with each candidate, and the threshold is corrected until the share is met.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from rlvr.analysis.cross.decoder import PURE_PRIMARY, Job, Mixed
from rlvr.analysis.cross.records import Calibration

TOLERANCE = 0.03  # relative error of the pilot's share at which a threshold is accepted
SAME_SCORE = 1e-4  # relative difference up to which two scores count as one: well above fp32 rounding

Decode = Callable[[Sequence[Job]], list[Mixed]]


def threshold_for(scores: ArrayLike, share: float) -> float:
    """Return a threshold that the fraction `share` of the scores exceeds, as nearly as ties allow.

    It lies midway between two scores that differ by more than rounding does. Responses with the same prefix,
    such as all samples of a problem at their first token, have the same score but for rounding: a threshold
    between those would be a matter of chance.
    """
    ordered = np.sort(np.asarray(scores, dtype=np.float64))[::-1]
    higher, lower = ordered[:-1], ordered[1:]
    apart = higher - lower > SAME_SCORE * np.maximum(np.abs(higher), np.abs(lower))
    borders = np.concatenate([[0], 1 + np.flatnonzero(apart), [len(ordered)]])  # how many scores are above
    above = int(borders[np.argmin(np.abs(borders - share * len(ordered)))])
    if above == 0:
        return float(np.nextafter(ordered[0], np.inf))
    if above == len(ordered):
        return float(np.nextafter(ordered[-1], -np.inf))
    return float((ordered[above - 1] + ordered[above]) / 2)


@dataclass(slots=True)
class _Search:
    """The search for one target: a bracket, the next candidate, the best one so far."""

    target: float
    candidate: float
    low: float = -np.inf  # switches too much
    high: float = np.inf  # switches too little
    best: Calibration | None = None
    rounds: int = 0

    @property
    def done(self) -> bool:
        return self.best is not None and abs(self.best.share - self.target) <= TOLERANCE * self.target

    def learn(self, written: Sequence[Mixed]) -> None:
        """Judge the candidate by the responses written with it, and choose the next."""
        scores = np.concatenate([response.scores for response in written])
        share = float(np.mean(scores > self.candidate))
        self.rounds += 1
        tried = Calibration(self.target, self.candidate, share, len(scores), self.rounds)
        if self.best is None or abs(share - self.target) < abs(self.best.share - self.target):
            self.best = tried
        self.best = replace(self.best, rounds=self.rounds)
        if share > self.target:
            self.low = max(self.low, self.candidate)
        else:
            self.high = min(self.high, self.candidate)
        self.candidate = threshold_for(scores, self.target)
        if not self.low < self.candidate < self.high:
            bounds = [bound for bound in (self.low, self.high) if np.isfinite(bound)]
            self.candidate = float(np.mean(bounds))


def calibrate(
    decode: Decode, pilot: Sequence[Job], targets: Sequence[float], rounds: int
) -> list[Calibration]:
    """Return one calibration for each target share, in order.

    The first candidates are quantiles of the scores along the primary model's own responses. Each round writes
    the pilot with the candidates of all open targets together, and takes the quantile of the scores along
    those mixed responses as the next candidate, kept within the bracket of what is known to be too low and
    too high. The best candidate tried wins; `rounds` = 0 trusts the first candidate after one check.
    """
    pure = decode([replace(job, threshold=PURE_PRIMARY) for job in pilot])
    scores = np.concatenate([response.scores for response in pure])
    searches = [_Search(target, threshold_for(scores, target)) for target in targets]
    for _ in range(rounds + 1):
        open_ = [search for search in searches if not search.done]
        if not open_:
            break
        written = decode([replace(job, threshold=s.candidate) for s in open_ for job in pilot])
        for place, search in enumerate(open_):
            search.learn(written[place * len(pilot) : (place + 1) * len(pilot)])
    return [search.best for search in searches if search.best is not None]
