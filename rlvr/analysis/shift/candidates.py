"""What happens among the candidates: overlap, rank and mass of the most likely tokens."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from rlvr.analysis.config import TablesConfig
from rlvr.analysis.shift.columns import OVERLAP_KS
from rlvr.analysis.shift.tally import BinSums, Cells, Means, TokenPart, flat, from_bins, ratio
from rlvr.stats.accuracy import Estimate

GROUPS = ("all", "moved")
RANK_EDGES = np.asarray([1, 2, 3, 4, 5, 6, 11, 21, 51, 101, 1001, math.inf])
PROB_EDGES = np.asarray(
    [0.0, 1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, math.inf]
)
DIRECTIONS = {  # direction -> its columns of rank and probability
    "policy_in_base": ("top_policy_rank_base", "top_policy_prob_base"),
    "base_in_policy": ("top_base_rank_policy", "top_base_prob_policy"),
}
NO_EDGE = math.nan


def _groups(part: TokenPart, moved_above: float) -> dict[str, np.ndarray]:
    return {"all": np.ones(len(part.unit), dtype=bool), "moved": part["js"] > moved_above}


class Overlap:
    """Shared candidates among the k most likely."""

    name = "overlap"

    def __init__(self, cfg: TablesConfig) -> None:
        self.moved_above = cfg.moved_above
        self.means = {group: Means(len(OVERLAP_KS), 2) for group in GROUPS}  # shared / k, identical

    def add(self, part: TokenPart) -> None:
        for group, mask in _groups(part, self.moved_above).items():
            for place, k in enumerate(OVERLAP_KS):
                common = part[f"overlap_{k}"]
                self.means[group].add(part, np.where(mask, place, -1), common / k, common == k)

    def rows(self) -> Iterator[Cells]:
        for group, means in self.means.items():
            for place, k in enumerate(OVERLAP_KS):
                yield group, k, *means.cells(place)

    def at(self, group: str, k: int) -> Estimate:
        """The mean overlap of one k."""
        return self.means[group].mean(OVERLAP_KS.index(k))


class _Binned:
    """Counts of a column in bins, by direction and group."""

    edges = RANK_EDGES
    column = 0

    def __init__(self, cfg: TablesConfig) -> None:
        self.moved_above = cfg.moved_above
        self.tallies = {(d, g): BinSums(len(self.edges) - 1) for d in DIRECTIONS for g in GROUPS}

    def add(self, part: TokenPart) -> None:
        for group, mask in _groups(part, self.moved_above).items():
            for direction, columns in DIRECTIONS.items():
                bins = from_bins(self.edges, part[columns[self.column]])
                self.tallies[direction, group].add(part, np.where(mask, bins, -1))

    def rows(self) -> Iterator[Cells]:
        for (direction, group), tally in self.tallies.items():
            for place in range(tally.bins):
                share = ratio(tally, place, tally, slice(None))
                within = ratio(tally, slice(place + 1), tally, slice(None))
                edges = self.cells(place)
                yield direction, group, *edges, int(tally.total[place]), *flat(share, within)

    def cells(self, place: int) -> tuple[float, float]:
        """The edges of a bin as the table writes them."""
        return self.edges[place], self.edges[place + 1]

    def below(self, direction: str, group: str, edge: float) -> Estimate:
        """The share below one of the edges."""
        tally = self.tallies[direction, group]
        return ratio(tally, slice(int(np.flatnonzero(self.edges == edge)[0])), tally, slice(None))


class Rank(_Binned):
    """Ranks, in bins whose upper edge is included."""

    name = "rank"

    def cells(self, place: int) -> tuple[float, float]:
        high = self.edges[place + 1] - 1
        return self.edges[place], NO_EDGE if math.isinf(high) else high


class Mass(_Binned):
    """Probabilities."""

    name = "mass"
    edges = PROB_EDGES
    column = 1
