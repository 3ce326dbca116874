"""The page about a run, or about several over each other: figures, tables, token pages and the exact set-up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from rlvr.reporting.figures.canvas import Drawn
from rlvr.reporting.pages import tables
from rlvr.reporting.pages.render import document
from rlvr.reporting.sources import ReportedRun
from rlvr.reporting.theme import LEVEL_EDGES
from rlvr.reporting.tokens import TokenPages


@dataclass(frozen=True, slots=True)
class DrawnRun:
    """A run and the figures that are its own."""

    run: ReportedRun
    shift: tuple[Drawn, ...]
    cross: tuple[Drawn, ...]


def page(drawn: Sequence[DrawnRun], training: Sequence[Drawn], tokens: TokenPages) -> str:
    """The whole HTML file about runs, with the training figures of all of them."""
    runs = [one.run for one in drawn]
    analyses = [run.analysis for run in runs if run.analysis is not None]
    limits = sorted({analysis.moved_above for analysis in analyses})
    names = [run.name for run in runs]
    several = len(runs) > 1
    return document(
        "run.html",
        ", ".join(names),
        [*training, *chain.from_iterable((*one.shift, *one.cross) for one in drawn)],
        tokens=tokens.content(LEVEL_EDGES) if analyses else None,
        heading=" against ".join(names) if len(runs) <= 3 else f"{len(runs)} runs",
        several=several,
        facts=[] if several else [*tables.facts(runs[0])],
        tables=tables,
        runs=runs,
        drawn=drawn,
        training=training,
        chosen=tokens.chosen(len(analyses)) if analyses else None,
        edges=["0", *(f"{edge:g}" for edge in LEVEL_EDGES)],
        moved_above=" or ".join(f"{limit:g}" for limit in limits) + " (as analysed)" * (len(limits) > 1),
    )
