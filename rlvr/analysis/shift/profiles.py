"""Where in a response, at which entropy and for which outcome the divergence stands."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from rlvr.analysis.config import TablesConfig
from rlvr.analysis.shift.sections import SECTIONS
from rlvr.analysis.shift.tally import BinSums, Cells, Means, TokenPart, flat, from_bins, ratio

RELATIVE_BINS = 20
# One token a bin at first, then four bins an octave.
_OCTAVES = (16 * 2 ** (np.arange(1, 65) / 4)).round()
ABSOLUTE_EDGES = np.concatenate([np.arange(17.0), _OCTAVES])
ENTROPY_EDGES = np.concatenate([[0.0], np.geomspace(1e-3, 16.0, 29), [math.inf]])
JS_EDGES = np.concatenate([[0.0], np.geomspace(1e-6, math.log(2), 30), [math.inf]])


class Position:
    """Means along the response on four axes."""

    name = "position"

    def __init__(self, cfg: TablesConfig) -> None:
        self.moved_above = cfg.moved_above
        sizes = {
            "relative": RELATIVE_BINS,
            "from_start": len(ABSOLUTE_EDGES),
            "from_end": len(ABSOLUTE_EDGES),
            "section": len(SECTIONS),
        }
        self.means = {axis: Means(size, 3) for axis, size in sizes.items()}

    def add(self, part: TokenPart) -> None:
        start, end = part["position"], part["from_end"]
        middle = (start + 0.5) / (start + end + 1.0)
        index = {
            "relative": np.minimum((middle * RELATIVE_BINS).astype(int), RELATIVE_BINS - 1),
            "from_start": np.searchsorted(ABSOLUTE_EDGES, start, side="right") - 1,
            "from_end": np.searchsorted(ABSOLUTE_EDGES, end, side="right") - 1,
            "section": part["section"],
        }
        moved = part["js"] > self.moved_above
        for axis, bins in index.items():
            self.means[axis].add(part, bins, part["js"], moved, part["entropy_base"])

    def rows(self) -> Iterator[Cells]:
        relative = np.linspace(0.0, 1.0, RELATIVE_BINS + 1)
        absolute = np.append(ABSOLUTE_EDGES, math.nan)
        for axis, means in self.means.items():
            for place in np.flatnonzero(means.count.total):
                if axis == "section":
                    name, edges = SECTIONS[place], (math.nan, math.nan)
                else:
                    of = relative if axis == "relative" else absolute
                    name, edges = "", (of[place], of[place + 1])
                yield axis, name, *edges, *means.cells(int(place))


class JsEntropy:
    """Counts on the grid of entropy and JS."""

    name = "js_entropy"

    def __init__(self, cfg: TablesConfig) -> None:
        self.size = (len(ENTROPY_EDGES) - 1, len(JS_EDGES) - 1)
        self.tallies = {side: BinSums(self.size[0] * self.size[1]) for side in ("base", "policy")}

    def add(self, part: TokenPart) -> None:
        across = from_bins(JS_EDGES, part["js"])
        for side, tally in self.tallies.items():
            down = from_bins(ENTROPY_EDGES, part[f"entropy_{side}"])
            tally.add(part, down * self.size[1] + across)

    def rows(self) -> Iterator[Cells]:
        for side, tally in self.tallies.items():
            for place in np.flatnonzero(tally.total):
                i, j = divmod(int(place), self.size[1])
                edges = (*ENTROPY_EDGES[i : i + 2], *JS_EDGES[j : j + 2])
                share = flat(ratio(tally, int(place), tally, slice(None)))
                yield side, *edges, int(tally.total[place]), *share


class ByOutcome:
    """Correct responses against wrong ones."""

    name = "outcome"

    def __init__(self, cfg: TablesConfig) -> None:
        self.moved_above = cfg.moved_above
        self.means = Means(2, 2)

    def add(self, part: TokenPart) -> None:
        self.means.add(part, np.where(part["correct"], 0, 1), part["js"], part["js"] > self.moved_above)

    def rows(self) -> Iterator[Cells]:
        for place, outcome in enumerate(("correct", "wrong")):
            yield outcome, *self.means.cells(place)
