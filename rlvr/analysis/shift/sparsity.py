"""How sparse the shift is: distribution function, shares above thresholds, percentiles."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from rlvr.analysis.config import TablesConfig
from rlvr.analysis.shift.tally import Tally, TokenPart, flat, interval, ratio
from rlvr.stats.accuracy import Doubles, Estimate

MEASURES = ("js", "js_top_p")
THRESHOLD_MEASURES = (*MEASURES, "kl_policy_base", "kl_base_policy")
NEAR_ZERO = 0.01  # JS up to which a position counts as unmoved in the headline [nats]
CURVE = np.unique(np.concatenate([[0.0, NEAR_ZERO], np.geomspace(1e-6, math.log(2), 60)]))
FINE = np.concatenate([[0.0], np.geomspace(1e-12, math.log(2), 4096)])  # neighbours 0.7 % apart
PERCENTILES = (50.0, 75.0, 90.0, 95.0, 99.0, 99.9)
Cells = tuple[object, ...]


def at_most_bins(edges: Doubles, values: Doubles) -> np.ndarray:
    """Bin i holds the values in (edges[i - 1], edges[i]]; the last one whatever is larger or nan."""
    return np.searchsorted(edges, values, side="left")


class Sparsity:
    """The distribution function on a grid."""

    name = "sparsity"

    def __init__(self, cfg: TablesConfig) -> None:
        self.tallies = {m: Tally(len(CURVE) + 1) for m in MEASURES}

    def add(self, part: TokenPart) -> None:
        for measure, tally in self.tallies.items():
            tally.add(part, at_most_bins(CURVE, part[measure]))

    def rows(self) -> Iterator[Cells]:
        for measure, tally in self.tallies.items():
            summed = tally.cumulative()
            for place, edge in enumerate(CURVE):
                yield measure, edge, *flat(ratio(summed, place, summed, tally.bins - 1))

    def near_zero(self) -> Estimate:
        """The share of positions whose exact JS is at most NEAR_ZERO."""
        place = int(np.flatnonzero(CURVE == NEAR_ZERO)[0])
        return ratio(self.tallies["js"], slice(place + 1), self.tallies["js"], slice(None))


class Thresholds:
    """Shares strictly above each threshold."""

    name = "thresholds"

    def __init__(self, cfg: TablesConfig) -> None:
        self.edges = np.sort(np.asarray([*{*cfg.thresholds, cfg.moved_above}]))
        self.tallies = {m: Tally(len(self.edges) + 1) for m in THRESHOLD_MEASURES}

    def add(self, part: TokenPart) -> None:
        for measure, tally in self.tallies.items():
            tally.add(part, at_most_bins(self.edges, part[measure]))

    def rows(self) -> Iterator[Cells]:
        everything = slice(None)
        for measure, tally in self.tallies.items():
            for place, edge in enumerate(self.edges):
                above = slice(place + 1, None)
                counts = (int(tally.total.sum()), int(tally.total[above].sum()))
                yield measure, edge, *counts, *flat(ratio(tally, above, tally, everything))

    def share_above(self, measure: str, threshold: float) -> Estimate:
        """The share of one of the thresholds."""
        place = int(np.flatnonzero(self.edges == threshold)[0])
        tally = self.tallies[measure]
        return ratio(tally, slice(place + 1, None), tally, slice(None))


class Evolution:
    """Mean and percentiles of one checkpoint."""

    name = "evolution"

    def __init__(self, cfg: TablesConfig) -> None:
        self.moved_above = cfg.moved_above
        self.fine = {m: Tally(len(FINE) + 1) for m in MEASURES}
        self.sums = {m: Tally(3) for m in MEASURES}  # tokens, sum, moved

    def add(self, part: TokenPart) -> None:
        for measure in MEASURES:
            values = part[measure]
            self.fine[measure].add(part, at_most_bins(FINE, values))
            zeros = np.zeros(len(values))
            self.sums[measure].add(part, zeros)
            self.sums[measure].add(part, zeros + 1, values)
            self.sums[measure].add(part, np.where(values > self.moved_above, 2, -1))

    def rows(self) -> Iterator[Cells]:
        for measure in MEASURES:
            sums = self.sums[measure]
            yield measure, "mean", *flat(ratio(sums, 1, sums, 0))
            yield measure, "share_moved", *flat(ratio(sums, 2, sums, 0))
            summed = self.fine[measure].cumulative()
            for percent in PERCENTILES:
                value = _quantile(summed.total[None], percent)[0]
                yield measure, f"p{percent:g}", value, *interval(_quantile(summed.replicates, percent))


def _quantile(cumulative: Doubles, percent: float) -> Doubles:
    """[B] upper edges of the bins in which the cumulative counts [B, n] reach the share; nan where all are 0."""
    total = cumulative[:, -1:]
    place = (cumulative < total * (percent / 100.0)).sum(axis=1)
    values = np.append(FINE, np.nan)[np.minimum(place, len(FINE))]
    return np.where(total[:, 0] == 0, np.nan, values)
