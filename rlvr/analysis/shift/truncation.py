"""How truncating to the nucleus distorts JS: both values side by side."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from rlvr.analysis.config import TablesConfig
from rlvr.analysis.shift.profiles import from_bins
from rlvr.analysis.shift.sparsity import Cells
from rlvr.analysis.shift.tally import Tally, TokenPart, flat, ratio

EDGES = np.asarray([0.0, 1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, math.inf])


class Truncation:
    """Means in bins of the exact value."""

    name = "truncation"

    def __init__(self, cfg: TablesConfig) -> None:
        self.count = Tally(len(EDGES) - 1)
        self.means = tuple(Tally(len(EDGES) - 1) for _ in range(4))

    def add(self, part: TokenPart) -> None:
        exact, truncated = part["js"], part["js_top_p"]
        bins = from_bins(EDGES, exact)
        self.count.add(part, bins)
        difference = truncated - exact
        for tally, values in zip(self.means, (exact, truncated, difference, np.abs(difference)), strict=True):
            tally.add(part, bins, values)

    def rows(self) -> Iterator[Cells]:
        for place in np.flatnonzero(self.count.total):
            means = (ratio(tally, int(place), self.count, int(place)) for tally in self.means)
            yield *EDGES[place : place + 2], int(self.count.total[place]), *flat(*means)


class TruncationAgreement:
    """Whether both values exceed a threshold together."""

    name = "truncation_agreement"

    def __init__(self, cfg: TablesConfig) -> None:
        self.edges = np.sort(np.asarray([*{*cfg.thresholds, cfg.moved_above}]))
        self.tallies = [Tally(4) for _ in self.edges]  # neither, only exact, only top_p, both

    def add(self, part: TokenPart) -> None:
        for edge, tally in zip(self.edges, self.tallies, strict=True):
            tally.add(part, (part["js"] > edge) + 2 * (part["js_top_p"] > edge))

    def rows(self) -> Iterator[Cells]:
        for edge, tally in zip(self.edges, self.tallies, strict=True):
            neither, exact, top_p, both = (int(count) for count in tally.total)
            agreement = ratio(tally, slice(0, None, 3), tally, slice(None))
            recall = ratio(tally, 3, tally, slice(1, None, 2))
            yield edge, int(tally.total.sum()), both, exact, top_p, neither, *flat(agreement, recall)
