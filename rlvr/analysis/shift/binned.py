"""The tables whose rows are bins of tokens: how sparse the shift is, where it lies, what the candidates are."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rlvr.analysis.config import TablesConfig
from rlvr.analysis.shift.classes import CLASSES
from rlvr.analysis.shift.columns import OVERLAP_KS
from rlvr.analysis.shift.parts import SECTIONS
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
from rlvr.stats.accuracy import Doubles

MEASURES = ("js", "js_top_p")
THRESHOLD_MEASURES = (*MEASURES, "kl_policy_base", "kl_base_policy")
NEAR_ZERO = 0.01  # JS up to which a position counts as unmoved in the headline [nats]
CURVE = np.unique(np.concatenate([[0.0, NEAR_ZERO], np.geomspace(1e-6, math.log(2), 60)]))
FINE = np.concatenate([[0.0], np.geomspace(1e-12, math.log(2), 4096)])  # neighbours 0.7 % apart
PERCENTILES = (50.0, 75.0, 90.0, 95.0, 99.0, 99.9)
TRUNCATION = np.asarray(
    [0.0, 1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, math.inf]
)
RELATIVE = np.linspace(0.0, 1.0, 21)
# One token a bin at first, then four bins an octave, and all beyond.
_OCTAVES = (16 * 2 ** (np.arange(1, 65) / 4)).round()
ABSOLUTE = np.concatenate([np.arange(17.0), _OCTAVES, [math.nan]])
ENTROPY = np.concatenate([[0.0], np.geomspace(1e-3, 16.0, 29), [math.inf]])
JS = np.concatenate([[0.0], np.geomspace(1e-6, math.log(2), 30), [math.inf]])
RANKS = np.asarray([1, 2, 3, 4, 5, 6, 11, 21, 51, 101, 1001, math.inf])
PROBABILITIES = np.asarray(
    [0.0, 1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, math.inf]
)
DIRECTIONS = {"policy_in_base": "top_policy_{}_base", "base_in_policy": "top_base_{}_policy"}

# A group, bins [T] of its tokens, values [T] to average.
Placed = tuple[Cells, np.ndarray, *tuple[ArrayLike, ...]]


@dataclass
class Binned:
    """A table with a row for each bin of each group of tokens."""

    name: str
    labels: Mapping[Any, Sequence[Cells | None]]  # cells of a group -> those of its bins; None: no row
    place: Callable[[TokenPart], Iterator[Placed]]
    cells: Callable[[Means, int], Cells] = Means.cells  # what the row of a bin says
    values: int = 0  # how many there are to average
    empty: bool = True  # whether bins without a token have a row

    def __post_init__(self) -> None:
        self.means = {group: Means(len(labels), self.values) for group, labels in self.labels.items()}

    def add(self, part: TokenPart) -> None:
        for group, bins, *values in self.place(part):
            self.means[group].add(part, bins, *values)

    def rows(self) -> Iterator[Cells]:
        for group, labels in self.labels.items():
            means = self.means[group]
            for place, label in enumerate(labels):
                if label is not None and (self.empty or means.count.total[place]):
                    yield *group, *label, *self.cells(means, place)


def _groups(part: TokenPart, cfg: TablesConfig) -> Iterator[tuple[str, np.ndarray]]:
    yield "all", np.ones(len(part.unit), dtype=bool)
    yield "moved", part["js"] > cfg.moved_above


def sparsity(cfg: TablesConfig) -> Binned:
    """The distribution function on a grid."""
    return _up_to("sparsity", MEASURES, CURVE, lambda means, k: flat(means.share(slice(k + 1))))


def _thresholds(cfg: TablesConfig) -> Doubles:
    return np.sort(np.asarray([*{*cfg.thresholds, cfg.moved_above}]))


def thresholds(cfg: TablesConfig) -> Binned:
    """Shares strictly above each threshold."""

    def cells(means: Means, k: int) -> Cells:
        above, total = slice(k + 1, None), means.count.total
        return int(total.sum()), int(total[above].sum()), *flat(means.share(above))

    return _up_to("thresholds", THRESHOLD_MEASURES, _thresholds(cfg), cells)


def _up_to(
    name: str, measures: Sequence[str], edges: Doubles, cells: Callable[[Means, int], Cells]
) -> Binned:
    def place(part: TokenPart) -> Iterator[Placed]:
        for measure in measures:
            yield (measure,), at_most_bins(edges, part[measure])

    labels: list[Cells | None] = [*((edge,) for edge in edges), None]
    return Binned(name, {(measure,): labels for measure in measures}, place, cells)


def position(cfg: TablesConfig) -> Binned:
    """Means along the response on four axes."""

    def place(part: TokenPart) -> Iterator[Placed]:
        start, end = part["position"], part["from_end"]
        middle = (start + 0.5) / (start + end + 1.0)
        last = len(RELATIVE) - 2
        bins = {
            "relative": np.minimum((middle * (last + 1)).astype(int), last),
            "from_start": np.searchsorted(ABSOLUTE[:-1], start, side="right") - 1,
            "from_end": np.searchsorted(ABSOLUTE[:-1], end, side="right") - 1,
            "section": part["section"],
        }
        for axis, own in bins.items():
            yield (axis,), own, part["js"], part["js"] > cfg.moved_above, part["entropy_base"]

    absolute = [("", *edges) for edges in pairwise(ABSOLUTE)]
    labels = {
        ("relative",): [("", *edges) for edges in pairwise(RELATIVE)],
        ("from_start",): absolute,
        ("from_end",): absolute,
        ("section",): [(name, math.nan, math.nan) for name in SECTIONS],
    }
    return Binned("position", labels, place, values=3, empty=False)


def js_entropy(cfg: TablesConfig) -> Binned:
    """Counts on the grid of entropy and JS."""
    sides = ("base", "policy")

    def place(part: TokenPart) -> Iterator[Placed]:
        across = from_bins(JS, part["js"])
        for side in sides:
            yield (side,), from_bins(ENTROPY, part[f"entropy_{side}"]) * (len(JS) - 1) + across

    labels = [(*down, *across) for down in pairwise(ENTROPY) for across in pairwise(JS)]
    return Binned(
        "js_entropy", {(side,): labels for side in sides}, place, Means.count_and_share, empty=False
    )


def outcome(cfg: TablesConfig) -> Binned:
    """Correct responses against wrong ones."""

    def place(part: TokenPart) -> Iterator[Placed]:
        yield (), np.where(part["correct"], 0, 1), part["js"], part["js"] > cfg.moved_above

    return Binned("outcome", {(): [("correct",), ("wrong",)]}, place, values=2)


def classes(cfg: TablesConfig) -> Binned:
    """Classes of tokens, and what each has of the whole shift."""

    def place(part: TokenPart) -> Iterator[Placed]:
        yield (), part["class"], part["js"], part["js"] > cfg.moved_above

    def cells(means: Means, k: int) -> Cells:
        of_all = (ratio(sums, k, sums, slice(None)) for sums in means.sums)
        return int(means.count.total[k]), *flat(means.share(k), means.mean(k), means.mean(k, 1), *of_all)

    return Binned("classes", {(): [(name,) for name in CLASSES]}, place, cells, values=2)


def overlap(cfg: TablesConfig) -> Binned:
    """Shared candidates among the k most likely."""

    def place(part: TokenPart) -> Iterator[Placed]:
        for group, chosen in _groups(part, cfg):
            for number, k in enumerate(OVERLAP_KS):
                common = part[f"overlap_{k}"]
                yield (group,), np.where(chosen, number, -1), common / k, common == k

    labels = {(group,): [(k,) for k in OVERLAP_KS] for group in ("all", "moved")}
    return Binned("overlap", labels, place, values=2)


def rank(cfg: TablesConfig) -> Binned:
    """Ranks of the other's favourite, in bins whose upper edge is included."""
    labels = [(low, math.nan if math.isinf(high) else high - 1) for low, high in pairwise(RANKS)]
    return _favourite(cfg, "rank", "rank", RANKS, labels)


def mass(cfg: TablesConfig) -> Binned:
    """Probabilities of the other's favourite."""
    return _favourite(cfg, "mass", "prob", PROBABILITIES, [*pairwise(PROBABILITIES)])


def _favourite(cfg: TablesConfig, name: str, column: str, edges: Doubles, labels: Sequence[Cells]) -> Binned:
    def place(part: TokenPart) -> Iterator[Placed]:
        for group, chosen in _groups(part, cfg):
            for direction, form in DIRECTIONS.items():
                yield (direction, group), np.where(chosen, from_bins(edges, part[form.format(column)]), -1)

    def cells(means: Means, k: int) -> Cells:
        return *means.count_and_share(k), *flat(means.share(slice(k + 1)))

    groups = ((direction, group) for direction in DIRECTIONS for group in ("all", "moved"))
    return Binned(name, dict.fromkeys(groups, labels), place, cells)


def truncation(cfg: TablesConfig) -> Binned:
    """Exact and truncated JS side by side: means in bins of the exact value."""

    def place(part: TokenPart) -> Iterator[Placed]:
        exact, truncated = part["js"], part["js_top_p"]
        difference = truncated - exact
        yield (), from_bins(TRUNCATION, exact), exact, truncated, difference, np.abs(difference)

    return Binned("truncation", {(): [*pairwise(TRUNCATION)]}, place, values=4, empty=False)


def truncation_agreement(cfg: TablesConfig) -> Binned:
    """Whether both values exceed a threshold together."""
    edges = _thresholds(cfg)

    def place(part: TokenPart) -> Iterator[Placed]:
        for edge in edges:  # bins: neither, only exact, only top-p, both
            yield (edge,), (part["js"] > edge) + 2 * (part["js_top_p"] > edge)

    def cells(means: Means, k: int) -> Cells:
        neither, exact, top_p, both = (int(count) for count in means.count.total)
        agreement, recall = means.share(slice(0, None, 3)), means.share(3, of=slice(1, None, 2))
        return neither + exact + top_p + both, both, exact, top_p, neither, *flat(agreement, recall)

    return Binned("truncation_agreement", {(edge,): [(), None, None, None] for edge in edges}, place, cells)


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
            self.means[measure].add(part, np.zeros(len(values)), values, values > self.moved_above)

    def rows(self) -> Iterator[Cells]:
        for measure in MEASURES:
            yield measure, "mean", *flat(self.means[measure].mean(0))
            yield measure, "share_moved", *flat(self.means[measure].mean(0, 1))
            total, replicates = self.fine[measure].total[None], self.fine[measure].replicates
            for percent in PERCENTILES:
                value = _quantile(total.cumsum(axis=1), percent)[0]
                ends = interval(_quantile(replicates.cumsum(axis=1), percent))
                yield measure, f"p{percent:g}", value, *ends


def _quantile(cumulative: Doubles, percent: float) -> Doubles:
    """[B] upper edges of the bins in which the cumulative counts [B, n] reach the share; nan where all are 0."""
    total = cumulative[:, -1:]
    wanted = np.round(total * (percent / 100.0), 6)  # 99.9 % of 1000 is a hair above 999
    place = (cumulative < wanted).sum(axis=1)
    values = np.append(FINE, np.nan)[np.minimum(place, len(FINE))]
    return np.where(total[:, 0] == 0, np.nan, values)
