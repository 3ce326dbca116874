"""The page that `rlvr view` serves: the token pages with ids, what was tried, and the training as it goes on."""

from __future__ import annotations

from rlvr.analysis.intervene.records import FILE_NAME, MOST_SAMPLES
from rlvr.config import Config
from rlvr.reporting.pages import document
from rlvr.reporting.sources import ReportedRun
from rlvr.reporting.theme import LEVEL_EDGES
from rlvr.reporting.tokens import ID_FIELDS, TOKEN_FIELDS, TokenPages, read_scores, select

SAMPLES = 16  # continuations of an arm, unless the page says otherwise


def view_page(run: ReportedRun, cfg: Config, why_not: str, *, divergent: int, drawn: int, tokens: int) -> str:
    """The whole page; `why_not` says why nothing can be tried, empty where it can.

    Raises:
        DataError: a part of the token table is missing or damaged.
    """
    pages = TokenPages(fields=(*TOKEN_FIELDS, *ID_FIELDS))
    if run.analysis is not None:
        scores = read_scores(run.analysis)
        pages.add(run.name, run.analysis, select(scores, divergent, drawn), scores, tokens)
    return document(
        "view.html",
        run.name,
        (),
        tokens=pages.content(LEVEL_EDGES) if run.analysis is not None else None,
        view={"interventions": not why_not, "steps": cfg.steps},
        heading=run.name,
        several=False,
        facts=[],
        run=run,
        chosen=pages.chosen(1) if run.analysis is not None else None,
        interventions=not why_not,
        why_not=why_not,
        samples=SAMPLES,
        most=MOST_SAMPLES,
        file=FILE_NAME,
    )
