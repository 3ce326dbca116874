"""Which tokens move most, and how far that depends on their context."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator

import numpy as np

from rlvr.analysis.config import TablesConfig
from rlvr.analysis.shift.binned import Binned, Placed
from rlvr.analysis.shift.tally import Cells, Means, TokenPart, flat
from rlvr.stats.accuracy import Doubles

READ_AGAIN = ("token_id", "js")


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


def shown_tokens(first: Identities, text: Callable[[int], str]) -> Binned:
    """Means of the listed tokens with their intervals, gathered in a second pass, which reads READ_AGAIN."""
    ids, all_moved = first.shown(), first.sums[3].sum()
    row = np.full(len(first.largest), -1)
    row[ids] = np.arange(len(ids))

    def place(part: TokenPart) -> Iterator[Placed]:
        yield (), row[part["token_id"]], part["js"], part["js"] > first.cfg.moved_above

    def cells(means: Means, k: int) -> Cells:
        count, total, squares, moved = first.sums[:, ids[k]]
        variance = squares / count - (total / count) ** 2
        js = *flat(means.mean(k)), math.sqrt(max(variance, 0.0)), float(first.largest[ids[k]])
        share_of_moved = float(moved / all_moved) if all_moved else math.nan
        return int(count), *js, int(moved), *flat(means.mean(k, 1)), share_of_moved

    labels = [(int(token), json.dumps(text(int(token)), ensure_ascii=False)) for token in ids]
    return Binned("tokens", {(): labels}, place, cells, values=2)
