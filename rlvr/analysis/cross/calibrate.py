"""Find the threshold with which a rule switches a given share of the tokens, or changes a given share of them.

The share cannot be read off the primary model's own responses: a switch changes everything after it. So the
pilot problems are written again with each candidate, and the threshold is corrected until the share is met.
Where rules are compared at equal effective budgets, the experiment's own responses are corrected alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rlvr.analysis.cross.decoder import PURE_PRIMARY, Mixed, ResponseJob
from rlvr.analysis.cross.records import EFFECTIVE, EFFECTIVE_TOLERANCE, SWITCHED, Calibration

TOLERANCE = 0.03  # relative error of the pilot's share at which a threshold is accepted
SETTLING_ROUNDS = 4  # corrections by the experiment's own responses, at most
SAME_VALUE = 1e-4  # relative difference up to which two values count as one: well above fp32 rounding

Decode = Callable[[Sequence[ResponseJob]], list[Mixed]]


def threshold_for(values: ArrayLike, share: float) -> float:
    """Return a threshold that the fraction `share` of the values exceeds, as nearly as ties allow.

    It lies midway between two values that differ by more than rounding does. Responses with the same prefix,
    such as all samples of a problem at their first token, have the same value but for rounding: a threshold
    between those would be a matter of chance. Where many values lie closer than that, one behind the other, it lies in
    the widest gap among those that are one with the values beside the wanted place.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))[::-1]
    wanted = share * len(ordered)
    places = _beside(ordered, min(round(wanted), len(ordered)))  # how many values may be above
    ends = np.concatenate([[np.inf], ordered, [-np.inf]])
    higher, lower = ends[places], ends[places + 1]
    gaps = higher - lower
    largest = np.maximum(np.abs(higher), np.abs(lower))
    apart = np.isinf(gaps) | (gaps > SAME_VALUE * largest)
    chosen = places[apart] if apart.any() else places[gaps == gaps.max()]
    above = int(chosen[np.argmin(np.abs(chosen - wanted))])
    if above == 0:
        return float(np.nextafter(ordered[0], np.inf))
    if above == len(ordered):
        return float(np.nextafter(ordered[-1], -np.inf))
    return float((ordered[above - 1] + ordered[above]) / 2)


def _beside(ordered: NDArray[np.float64], place: int) -> NDArray[np.int64]:
    """Places in falling values: this one, and all around the values that are one with its neighbours."""
    higher, lower = ordered[max(place - 1, 0)], ordered[min(place, len(ordered) - 1)]
    rising = -ordered
    start = np.searchsorted(rising, -(higher + SAME_VALUE * abs(higher)), side="left")
    stop = np.searchsorted(rising, -(lower - SAME_VALUE * abs(lower)), side="right")
    return np.arange(start, stop + 1)


@dataclass(slots=True)
class _Search:
    """The search for one target: a bracket, the next candidate, the best one so far."""

    target: float
    candidate: float
    of: str  # what counts: switched or effective
    tolerance: float = TOLERANCE
    low: float = -np.inf  # switches too much
    high: float = np.inf  # switches too little
    best: Calibration | None = None
    written: Sequence[Mixed] = ()  # with the best
    rounds: int = 0

    @property
    def done(self) -> bool:
        """Whether the target is met, or what would be tried next has been tried."""
        if self.best is None:
            return False
        met = abs(self.best.share - self.target) <= self.tolerance * self.target
        return met or self.candidate in (self.low, self.high)

    def learn(self, written: Sequence[Mixed]) -> None:
        """Judge the candidate by the responses written with it, and choose the next."""
        values, counted = _values(written, self.of)
        share = float(np.mean(counted & (values > self.candidate)))
        self.rounds += 1
        if self.best is None or abs(share - self.target) < abs(self.best.share - self.target):
            self.best = Calibration(self.target, self.candidate, share, len(values), self.rounds)
            self.written = written
        self.best = replace(self.best, rounds=self.rounds)
        if share > self.target:
            self.low = max(self.low, self.candidate)
        else:
            self.high = min(self.high, self.candidate)
        self.candidate = _first(values, counted, self.target)
        if not self.low < self.candidate < self.high:
            bounds = [bound for bound in (self.low, self.high) if np.isfinite(bound)]
            self.candidate = float(np.mean(bounds)) if bounds else self.candidate


def _values(written: Sequence[Mixed], of: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The rule's values at all tokens, and at which of them a switch would count."""
    values = np.concatenate([response.values for response in written])
    if of == EFFECTIVE:
        return values, np.concatenate([response.differs for response in written])
    return values, np.ones(len(values), dtype=np.bool_)


def _first(values: NDArray[np.float64], counted: NDArray[np.bool_], target: float) -> float:
    """The threshold that the wanted share of all tokens exceeds and counts at."""
    if not counted.any():
        return float(np.nextafter(values.min(), -np.inf))  # all of them, and finite: JSON has no infinity
    return threshold_for(values[counted], target * len(values) / int(counted.sum()))


def calibrate(
    decode: Decode, pilot: Sequence[ResponseJob], targets: Sequence[float], rounds: int, of: str = SWITCHED
) -> list[Calibration]:
    """Return one calibration for each target share, in order.

    The first candidates are quantiles of the values along the primary model's own responses. Each round writes
    the pilot with the candidates of all open targets together, and takes the quantile of the values along
    those mixed responses as the next candidate, kept within the bracket of what is known to be too low and
    too high. The best candidate tried wins; `rounds` = 0 trusts the first candidate after one check. `of` says
    what counts: every switch, or those alone that are effective.
    """
    if not targets:
        return []
    pure = decode([replace(job, threshold=PURE_PRIMARY) for job in pilot])
    searches = [_Search(target, _first(*_values(pure, of), target), of) for target in targets]
    _run(decode, pilot, searches, rounds)
    return [search.best for search in searches if search.best is not None]


def settle(
    decode: Decode, jobs: Sequence[ResponseJob], pilot: Calibration, of: str
) -> tuple[Calibration, Sequence[Mixed]]:
    """Write the jobs with the pilot's threshold, and again with a corrected one while their share misses the target.

    Returns the best calibration tried, whose share and tokens are those of the responses returned with it. It looks
    at shares alone, never at verdicts.
    """
    search = _Search(pilot.target, pilot.threshold, of, EFFECTIVE_TOLERANCE)
    _run(decode, jobs, [search], SETTLING_ROUNDS)
    assert search.best is not None
    return replace(search.best, rounds=pilot.rounds + search.rounds), search.written


def _run(decode: Decode, jobs: Sequence[ResponseJob], searches: Sequence[_Search], rounds: int) -> None:
    """Write the jobs with the candidates of all open searches together, and correct them so many times at most."""
    while open_ := [search for search in searches if not search.done and search.rounds <= rounds]:
        written = iter(decode([replace(job, threshold=s.candidate) for s in open_ for job in jobs]))
        for search in open_:
            search.learn(list(islice(written, len(jobs))))
