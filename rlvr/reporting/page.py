"""The page: its sections in reading order, put together from records and rendered figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from itertools import chain
from string import Template
from typing import Any

from rlvr.reporting.canvas import Figure
from rlvr.reporting.colours import LEVEL_EDGES, css_variables
from rlvr.reporting.html import embedded_json, unbroken
from rlvr.reporting.sections import (
    budget_table,
    command,
    config_blocks,
    identity_table,
    missing,
    outcome_table,
    overview,
    summary_table,
    versions_table,
)
from rlvr.reporting.sources import Analysis, Run


@dataclass(frozen=True, slots=True)
class Drawn:
    """A figure and its SVG for the page."""

    figure: Figure
    svg: str


@dataclass(frozen=True, slots=True)
class Material:
    """Everything that the page is made from; the figures of shift and cross-sampling are listed run by run."""

    runs: tuple[Run, ...]
    training: tuple[Drawn, ...]
    shift: tuple[tuple[Drawn, ...], ...]
    cross: tuple[tuple[Drawn, ...], ...]
    tokens: dict[str, Any] | None  # content of the token pages; None where there is no analysis
    chosen: str  # how the responses of the token pages were chosen


SECTIONS = {
    "training": "Training",
    "shift": "Where the distribution moved",
    "cross": "Does it matter?",
    "tokens": "Token by token",
    "setup": "Exact set-up",
}


def page(material: Material) -> str:
    """The whole HTML file about runs."""
    drawn = [*material.training, *chain(*material.shift, *material.cross)]
    names = ", ".join(run.name for run in material.runs)
    return document(
        names, SECTIONS, _body(material), drawn, tokens=material.tokens, several=len(material.runs) > 1
    )


def document(
    title: str,
    sections: Mapping[str, str],
    body: Sequence[str],
    drawn: Sequence[Drawn],
    *,
    tokens: dict[str, Any] | None = None,
    several: bool = False,
) -> str:
    """A self-contained HTML file: no request leaves it, and a content security policy says so to the browser.

    `sections` are id and title for the navigation, `drawn` the figures in the body, whose numbers go along.
    """
    own = files("rlvr.reporting")
    light, dark = css_variables("light"), css_variables("dark")
    return Template((own / "page.html").read_text()).substitute(
        title=escape(title),
        several=' class="several"' if several else "",
        style=(own / "page.css").read_text().replace("/*light*/", light).replace("/*dark*/", dark),
        nav="".join(f'<a href="#{key}">{escape(name)}</a>' for key, name in sections.items()),
        body="\n".join(body),
        data=embedded_json("figure-data", {d.figure.name: d.figure.as_csv() for d in drawn})
        + embedded_json("token-data", tokens),
        script=(own / "page.js").read_text(),
        tokens=(own / "tokens.js").read_text(),
    )


def _body(material: Material) -> list[str]:
    runs = material.runs
    parts = [overview(runs)]
    if len(runs) > 1:
        parts.append(f'<section class="wide">{summary_table(runs)}</section>')
    training = grid(material.training) or missing("There are no metrics of training", "rlvr.train")
    parts.append(_section("training", training))
    parts.append(_section("shift", "".join(map(_shift, runs, material.shift))))
    parts.append(_section("cross", "".join(map(_cross, runs, material.cross))))
    parts.append(_section("tokens", _tokens(material)))
    setup = config_blocks(runs) + versions_table(runs)
    parts.append(_section("setup", setup))
    return parts


def _section(key: str, content: str) -> str:
    return f'<section id="{key}"><h2>{escape(SECTIONS[key])}</h2>{content}</section>'


def _shift(run: Run, drawn: tuple[Drawn, ...]) -> str:
    if run.analysis is None:
        return missing(f"{run.name} has no finished analysis", command(run, "analyze"))
    return f'<h3 class="run">{escape(run.name)}</h3>' + grid(drawn) + _analysis_tables(run.analysis)


def _analysis_tables(analysis: Analysis) -> str:
    return identity_table(analysis) + outcome_table(analysis)


def _cross(run: Run, drawn: tuple[Drawn, ...]) -> str:
    if run.cross is None:
        return missing(f"{run.name} has no cross-sampling", command(run, "cross_sample"))
    return f'<h3 class="run">{escape(run.name)}</h3>' + grid(drawn) + budget_table(run.cross)


def grid(drawn: Sequence[Drawn]) -> str:
    """Figures side by side, with their captions and buttons to save them."""
    if not drawn:
        return ""
    return f'<div class="grid">{"".join(map(_figure, drawn))}</div>'


def _figure(drawn: Drawn) -> str:
    figure = drawn.figure
    name, title = escape(figure.name), escape(figure.title)
    return (
        f'<figure id="figure-{name}"><h4>{title}</h4>'
        f'<div class="plot" role="img" aria-label="{title}">{drawn.svg}</div>'
        f"<figcaption>{unbroken(figure.caption)}</figcaption>"
        f'<div class="save" data-figure="{name}"><button type="button" data-kind="csv">CSV</button>'
        '<button type="button" data-kind="svg">SVG</button>'
        '<details><summary>Numbers</summary><div class="scroll" tabindex="0"></div></details></div></figure>'
    )


def _tokens(material: Material) -> str:
    if material.tokens is None:
        return missing("The token pages come from the analysis", command(material.runs[0], "analyze"))
    edges = ("0", *(f"{edge:g}" for edge in LEVEL_EDGES))
    scale = "".join(f'<span class="t l{k}">{edge}</span>' for k, edge in enumerate(edges))
    legend = (
        f'<p class="scale"><span>JS, nats, from</span> {scale} <span class="t m">underlined</span> '
        f"<span>moved: above {_moved_above(material)}</span></p>"
    )
    return (
        f'<p class="lead">{escape(material.chosen)} Point at a token, tap it, or walk with the arrow keys to see what '
        "both models would have said there.</p>"
        f'{legend}<div id="pages"><noscript><p class="missing">These pages need JavaScript.</p></noscript></div>'
    )


def _moved_above(material: Material) -> str:
    limits = sorted({run.analysis.moved_above for run in material.runs if run.analysis is not None})
    return " or ".join(f"{limit:g}" for limit in limits) + (" (as analysed)" if len(limits) > 1 else "")
