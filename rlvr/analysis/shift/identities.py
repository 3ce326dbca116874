"""Which tokens move most, and how far that depends on their context."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator

import numpy as np

from rlvr.analysis.config import TablesConfig
from rlvr.analysis.shift.tally import Cells, Means, TokenPart, flat
from rlvr.stats.accuracy import Doubles


class Identities:
    """Sums for every token of the vocabulary; `context` sums them up."""

    name = "context"

    def __init__(self, cfg: TablesConfig) -> None:
        self.cfg = cfg
        self.sums: Doubles = np.zeros((4, 0))  # count, sum of JS, sum of its squares, moved
        self.largest: Doubles = np.zeros(0)

    def add(self, part: TokenPart) -> None:
        ids, js = part["token_id"], part["js"]
        size = max(len(self.largest), int(ids.max()) + 1)
        values = (np.ones_like(js), js, js * js, js > self.cfg.moved_above)
        added: Doubles = np.stack([np.bincount(ids, v, minlength=size) for v in values])
        self.sums = added + np.pad(self.sums, ((0, 0), (0, size - len(self.largest))))
        self.largest = np.pad(self.largest, (0, size - len(self.largest)))
        np.maximum.at(self.largest, ids, js)

    def rows(self) -> Iterator[Cells]:
        count, total, squares, moved = self.sums
        for name, sums, square in (("js", total, squares.sum()), ("moved", moved, moved.sum())):
            yield name, int(count.sum()), int((count > 0).sum()), *_explained(count, sums, float(square))

    def shown(self) -> np.ndarray:
        """The token ids to list: frequent enough, the largest mean JS first."""
        count, total = self.sums[0], self.sums[1]
        enough = np.flatnonzero(count >= self.cfg.min_count)
        order = np.argsort(-total[enough] / count[enough], kind="stable")
        return enough[order][: self.cfg.shown_tokens]


def _explained(count: Doubles, sums: Doubles, square: float) -> tuple[float, float, float]:
    """Variance, its share between identities (eta squared), and that share adjusted for chance."""
    n, groups = float(count.sum()), int((count > 0).sum())
    all_squares = square - float(sums.sum()) ** 2 / n
    seen = count > 0
    between = float((sums[seen] ** 2 / count[seen]).sum()) - float(sums.sum()) ** 2 / n
    if all_squares <= 0.0 or n <= groups:
        return max(all_squares, 0.0) / n, math.nan, math.nan
    within = (all_squares - between) / (n - groups)
    return all_squares / n, between / all_squares, (between - (groups - 1) * within) / all_squares


class ShownTokens:
    """Means of the listed tokens with their intervals, gathered in a second pass."""

    name = "tokens"
    reads = ("token_id", "js")

    def __init__(self, first: Identities, text: Callable[[int], str]) -> None:
        self.first, self.ids, self.text = first, first.shown(), text
        self.place = np.full(len(first.largest), -1)
        self.place[self.ids] = np.arange(len(self.ids))
        self.means = Means(len(self.ids), 2)  # of JS, of whether it moved

    def add(self, part: TokenPart) -> None:
        if not len(self.ids):
            return
        moved = part["js"] > self.first.cfg.moved_above
        self.means.add(part, self.place[part["token_id"]], part["js"], moved)

    def rows(self) -> Iterator[Cells]:
        count, total, squares, moved = self.first.sums
        all_moved = moved.sum()
        for place, token in enumerate(self.ids):
            variance = squares[token] / count[token] - (total[token] / count[token]) ** 2
            yield (
                int(token),
                json.dumps(self.text(int(token)), ensure_ascii=False),
                int(count[token]),
                *flat(self.means.mean(place)),
                math.sqrt(max(variance, 0.0)),
                float(self.first.largest[token]),
                int(moved[token]),
                *flat(self.means.mean(place, 1)),
                float(moved[token] / all_moved) if all_moved else math.nan,
            )
