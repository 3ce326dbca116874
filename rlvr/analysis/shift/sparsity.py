"""How sparse the shift is, and how truncating to the nucleus distorts it: distribution, thresholds, percentiles."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from rlvr.analysis.config import TablesConfig
from rlvr.analysis.shift.tally import (
    BinSums,
    Cells,
    Means,
    TokenPart,
    at_most_bins,
    flat,
    from_bins,
    interval,
    ratio,
)
from rlvr.stats.accuracy import Doubles, Estimate

MEASURES = ("js", "js_top_p")
THRESHOLD_MEASURES = (*MEASURES, "kl_policy_base", "kl_base_policy")
NEAR_ZERO = 0.01  # JS up to which a position counts as unmoved in the headline [nats]
CURVE = np.unique(np.concatenate([[0.0, NEAR_ZERO], np.geomspace(1e-6, math.log(2), 60)]))
FINE = np.concatenate([[0.0], np.geomspace(1e-12, math.log(2), 4096)])  # neighbours 0.7 % apart
PERCENTILES = (50.0, 75.0, 90.0, 95.0, 99.0, 99.9)
TRUNCATION = np.asarray(
    [0.0, 1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, math.inf]
)


class Sparsity:
    """The distribution function on a grid."""

    name = "sparsity"

    def __init__(self, cfg: TablesConfig) -> None:
        self.tallies = {m: BinSums(len(CURVE) + 1) for m in MEASURES}

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


def _thresholds(cfg: TablesConfig) -> Doubles:
    return np.sort(np.asarray([*{*cfg.thresholds, cfg.moved_above}]))


class Thresholds:
    """Shares strictly above each threshold."""

    name = "thresholds"

    def __init__(self, cfg: TablesConfig) -> None:
        self.edges = _thresholds(cfg)
        self.tallies = {m: BinSums(len(self.edges) + 1) for m in THRESHOLD_MEASURES}

    def add(self, part: TokenPart) -> None:
        for measure, tally in self.tallies.items():
            tally.add(part, at_most_bins(self.edges, part[measure]))

    def rows(self) -> Iterator[Cells]:
        for measure, tally in self.tallies.items():
            for place, edge in enumerate(self.edges):
                counts = (int(tally.total.sum()), int(tally.total[place + 1 :].sum()))
                yield measure, edge, *counts, *flat(self.share_above(measure, edge))

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
        self.fine = {m: BinSums(len(FINE) + 1) for m in MEASURES}
        self.means = {m: Means(1, 2) for m in MEASURES}  # of the measure, of whether it moved

    def add(self, part: TokenPart) -> None:
        for measure in MEASURES:
            values = part[measure]
            self.fine[measure].add(part, at_most_bins(FINE, values))
            everywhere = np.zeros(len(values), dtype=np.int64)
            self.means[measure].add(part, everywhere, values, values > self.moved_above)

    def rows(self) -> Iterator[Cells]:
        for measure in MEASURES:
            yield measure, "mean", *flat(self.means[measure].mean(0))
            yield measure, "share_moved", *flat(self.means[measure].mean(0, 1))
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


class Truncation:
    """Exact and truncated JS side by side: means in bins of the exact value."""

    name = "truncation"

    def __init__(self, cfg: TablesConfig) -> None:
        self.means = Means(len(TRUNCATION) - 1, 4)

    def add(self, part: TokenPart) -> None:
        exact, truncated = part["js"], part["js_top_p"]
        difference = truncated - exact
        self.means.add(part, from_bins(TRUNCATION, exact), exact, truncated, difference, np.abs(difference))

    def rows(self) -> Iterator[Cells]:
        for place in np.flatnonzero(self.means.count.total):
            yield *TRUNCATION[place : place + 2], *self.means.cells(int(place))


class TruncationAgreement:
    """Whether both values exceed a threshold together."""

    name = "truncation_agreement"

    def __init__(self, cfg: TablesConfig) -> None:
        self.edges = _thresholds(cfg)
        self.tallies = [BinSums(4) for _ in self.edges]  # neither, only exact, only top_p, both

    def add(self, part: TokenPart) -> None:
        for edge, tally in zip(self.edges, self.tallies, strict=True):
            tally.add(part, (part["js"] > edge) + 2 * (part["js_top_p"] > edge))

    def rows(self) -> Iterator[Cells]:
        for edge, tally in zip(self.edges, self.tallies, strict=True):
            neither, exact, top_p, both = (int(count) for count in tally.total)
            agreement = ratio(tally, slice(0, None, 3), tally, slice(None))
            recall = ratio(tally, 3, tally, slice(1, None, 2))
            yield edge, int(tally.total.sum()), both, exact, top_p, neither, *flat(agreement, recall)
