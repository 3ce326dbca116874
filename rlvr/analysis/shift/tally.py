"""Sums over tokens with bootstrap replicates, one part after another, in memory that does not grow.

Every problem (or response) draws a Poisson(1) weight for each replicate from a generator that its name seeds, so
its tokens weigh the same in whatever part they come: the bootstrap of streams (Chamandy et al. 2012, "Estimating
Uncertainty for Massive Data Streams"). Shapes: `T` tokens and `U` units of a part, `B` replicates, `n` bins.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rlvr.stats.accuracy import Doubles, Estimate

Ints = NDArray[np.int64]
Cells = tuple[object, ...]  # of a row of a table

LEFT_BY_ONE_UNIT = 0.75  # between 1 - 1/e and 1 - 1/e^2


@dataclass(frozen=True, slots=True)
class TokenPart:
    """One part of the token table, as the tables read it."""

    checkpoint: str
    trajectory: str
    columns: dict[str, NDArray[Any]]  # [T]; floats in float64
    unit: Ints  # [T] row of `weights`
    weights: Doubles  # [U, B]

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.columns[name]


def poisson_weights(units: Sequence[str], replicates: int, seed: int) -> Doubles:
    """[U, B] bootstrap weights of the named units; the same name always gets the same row."""
    rows = np.empty((len(units), replicates))
    for row, unit in zip(rows, units, strict=True):
        digest = hashlib.blake2b(f"{seed}/{unit}".encode(), digest_size=16).digest()
        row[:] = np.random.Generator(np.random.PCG64(int.from_bytes(digest, "big"))).poisson(1.0, replicates)
    return rows


class BinSums:
    """Sums in n bins, and the same sums under every replicate's weights."""

    def __init__(self, bins: int) -> None:
        self.bins = bins
        self.total: Doubles = np.zeros(bins)
        self.replicates: Doubles = np.zeros((1, bins))  # [B, n] once there is a part

    def add(self, part: TokenPart, index: NDArray[Any], values: ArrayLike | None = None) -> None:
        """Add `values` [T] (one each by default) to the bins `index` [T]; a negative index leaves a token out."""
        inside = index >= 0
        size = len(part.weights)
        weights = None if values is None else np.asarray(values, dtype=np.float64)[inside]
        flat = part.unit[inside] * self.bins + index[inside].astype(np.int64)
        sums = np.bincount(flat, weights, minlength=size * self.bins).reshape(size, self.bins)
        self.total += sums.sum(axis=0)
        self.replicates = self.replicates + part.weights.T @ sums


def ratio(top: BinSums, top_bin: int | slice, bottom: BinSums, bottom_bin: int | slice) -> Estimate:
    """The quotient of two sums with its 95 % percentile interval; nan where the denominator is 0."""

    def of(values: Doubles, bins: int | slice) -> Doubles:
        return values[..., bins].sum(axis=-1) if isinstance(bins, slice) else values[..., bins]

    def quotient(above: Doubles, below: Doubles) -> Doubles:
        a, b = of(above, top_bin), of(below, bottom_bin)
        return np.divide(a, b, out=np.full(np.shape(b), np.nan), where=b != 0)

    mean = float(quotient(top.total, bottom.total))
    return Estimate(mean, *interval(quotient(top.replicates, bottom.replicates)))


def interval(replicates: Doubles) -> tuple[float, float]:
    """The central 95 % of the replicates [B] that are defined; nan where a single unit holds all the tokens.

    A single unit is left out of a share 1/e of the replicates, two of them out of 1/e^2.
    """
    defined = replicates[~np.isnan(replicates)]
    if len(defined) <= LEFT_BY_ONE_UNIT * len(replicates):
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [0.025, 0.975])
    return float(low), float(high)


def flat(*estimates: Estimate) -> tuple[float, ...]:
    """Estimates as table cells."""
    return tuple(value for e in estimates for value in (e.mean, e.low, e.high))


class Means:
    """Counts, and means of some values, in bins."""

    def __init__(self, bins: int, values: int) -> None:
        self.count = BinSums(bins)
        self.sums = tuple(BinSums(bins) for _ in range(values))

    def add(self, part: TokenPart, index: NDArray[Any], *values: ArrayLike) -> None:
        """Add values [T] each to the bins `index` [T]; a negative index leaves a token out."""
        self.count.add(part, index)
        for tally, own in zip(self.sums, values, strict=True):
            tally.add(part, index, own)

    def mean(self, place: int, value: int = 0) -> Estimate:
        """The mean of a value in a bin."""
        return ratio(self.sums[value], place, self.count, place)

    def share(self, bins: int | slice, of: slice = slice(None)) -> Estimate:
        """The share of some bins of the tokens in others, by default of all."""
        return ratio(self.count, bins, self.count, of)

    def count_and_share(self, place: int) -> Cells:
        """The count of a bin, and its share of all."""
        return int(self.count.total[place]), *flat(self.share(place))

    def cells(self, place: int) -> Cells:
        """The count and every mean of a bin."""
        return int(self.count.total[place]), *flat(*(self.mean(place, k) for k in range(len(self.sums))))


def from_bins(edges: Doubles, values: Doubles) -> Ints:
    """Bin i holds the values in [edges[i], edges[i + 1])."""
    return np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)


def at_most_bins(edges: Doubles, values: Doubles) -> Ints:
    """Bin i holds the values in (edges[i - 1], edges[i]]; the last one whatever is larger or nan."""
    return np.searchsorted(edges, values, side="left")
