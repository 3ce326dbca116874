"""The pages, each one HTML file that needs nothing else, with every text in it escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import chain
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from rlvr.analysis.intervene.records import FILE_NAME, MOST_SAMPLES
from rlvr.analysis.sweep import tables as sweep_tables
from rlvr.analysis.sweep.compare import ranking
from rlvr.analysis.sweep.tables import SweepResult
from rlvr.config import Config
from rlvr.reporting import tables
from rlvr.reporting.figures.canvas import Drawn, Figure, render
from rlvr.reporting.figures.sweep import TRAINING, differences, divergence, held_out, one_by_one, overview
from rlvr.reporting.sources import ReportedRun
from rlvr.reporting.tables import Fact
from rlvr.reporting.theme import LEVEL_EDGES, css_variables
from rlvr.reporting.tokens import ID_FIELDS, SPANS, TOKEN_FIELDS, TokenPages, read_scores, select


@dataclass(frozen=True, slots=True)
class DrawnRun:
    """A run and the figures that are its own."""

    run: ReportedRun
    shift: tuple[Drawn, ...]
    cross: tuple[Drawn, ...]


def run_page(drawn: Sequence[DrawnRun], training: Sequence[Drawn], tokens: TokenPages) -> str:
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
        token_data=tokens.content(LEVEL_EDGES) if analyses else None,
        heading=" against ".join(names) if len(runs) <= 3 else f"{len(runs)} runs",
        several=several,
        facts=() if several else [*tables.facts(runs[0])],
        tables=tables,
        runs=runs,
        drawn=drawn,
        training=training,
        chosen=tokens.chosen(len(analyses)) if analyses else None,
        edges=["0", *(f"{edge:g}" for edge in LEVEL_EDGES)],
        versions=any(SPANS in response for response in tokens.responses),
        moved_above=" or ".join(f"{limit:g}" for limit in limits) + " (as analysed)" * (len(limits) > 1),
    )


def view_page(run: ReportedRun, cfg: Config, why_not: str, *, divergent: int, drawn: int, tokens: int) -> str:
    """The whole page; `why_not` says why nothing can be tried, empty where it can.

    Raises:
        DataError: a part of the token table is missing or damaged.
    """
    content = chosen = None
    if run.analysis is not None:
        pages, scores = TokenPages(fields=(*TOKEN_FIELDS, *ID_FIELDS)), read_scores(run.analysis)
        pages.add(run.name, run.analysis, select(scores, divergent, drawn), scores, tokens)
        content, chosen = pages.content(LEVEL_EDGES), pages.chosen(1)
    return document(
        "view.html",
        run.name,
        (),
        token_data=content,
        view_data={"interventions": not why_not, "steps": cfg.steps},
        run=run,
        chosen=chosen,
        why_not=why_not,
        most=MOST_SAMPLES,
        file=FILE_NAME,
    )


def sweep_page(found: SweepResult) -> str:
    """The whole HTML file.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    measures = [held_out(name) for name in found.evaluations]
    figures: dict[str, Iterable[Figure]] = {
        "differences": chain.from_iterable(differences(found, name) for name in found.evaluations),
        "curves": overview(found, (*measures, *TRAINING)),
        "single": one_by_one(found, (*measures, TRAINING[0])),
        "divergence": divergence(found),
    }
    grids = {section: [*map(render, drawn)] for section, drawn in figures.items()}
    return document(
        "sweep.html",
        found.sweep.name,
        chain.from_iterable(grids.values()),
        facts=_facts(found),
        found=found,
        tables=sweep_tables,
        ranking=ranking,
        **grids,
    )


def _facts(found: SweepResult) -> list[Fact]:
    sweep, setup = found.sweep, found.setup
    seeds = sorted({len(runs) for runs in found.conditions.values()})
    sizes = "; ".join(
        f"{name}: {problems} problems, {n} samples of each" for name, (problems, n) in setup.sizes.items()
    )
    hours = sum(one.total_seconds for one in found.trained) / 3600
    tokens = sum(one.total_tokens for one in found.trained)
    left = f"{len(sweep.unfinished)} not finished, {len(sweep.not_started)} not started"
    return [
        Fact(str(len(sweep.runs)), "finished runs", left),
        Fact(str(len(found.conditions)), "conditions", f"baseline: {found.baseline}"),
        Fact(" to ".join(str(n) for n in dict.fromkeys((seeds[0], seeds[-1]))), "seeds a condition", ""),
        Fact(" or ".join(map(str, setup.steps)), "training steps", sizes),
        Fact(f"{hours:.1f} h", "of all runs, one after another", f"{tokens:,} tokens sampled"),
    ]


def document(template: str, title: str, figures: Iterable[Drawn], **content: Any) -> str:
    """A self-contained HTML file: no request leaves it, and a content security policy says so to the browser.

    The numbers of the `figures` in it go along; of the `content`, `token_data` is what the script of the token pages
    reads, `view_data` what that of a page reads which may ask the server that it comes from.
    """
    style = _source("style.css")
    for theme in ("light", "dark"):
        style = style.replace(f"/*{theme}*/", css_variables(theme))
    numbers = {figure.name: figure.csv for figure in figures}
    unless_given = {"heading": title, "several": False, "facts": (), "token_data": None, "view_data": None}
    page = environment().get_template(template)
    return page.render(title=title, style=style, figure_data=numbers, **unless_given | content)


@cache
def environment() -> Environment:
    """Jinja with autoescape; a name that a template needs and nobody gave is an error."""
    made = Environment(
        loader=PackageLoader("rlvr.reporting"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    made.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    # Numbers stay on one line with their per cent signs.
    made.filters["unbroken"] = lambda text: text.replace(" %", "\u00a0%")
    made.globals["source"] = _source
    return made


def _source(name: str) -> Markup:
    return Markup(files(__package__).joinpath("templates", name).read_text())
