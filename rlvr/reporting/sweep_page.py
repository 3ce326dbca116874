"""The page about a sweep: tables and figures in one HTML file."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from rlvr.analysis.sweep.compare import ranking
from rlvr.analysis.sweep.tables import (
    HOW,
    Findings,
    Table,
    cost_table,
    curve_table,
    difference_table,
    divergence_table,
    outcome_table,
    versions_table,
    weight_table,
)
from rlvr.analysis.sweep.text import shared_settings
from rlvr.reporting.canvas import Figure, render_inline
from rlvr.reporting.html import details, table, unbroken
from rlvr.reporting.page import Drawn, document, grid
from rlvr.reporting.sweep_figures import TRAINING, differences, divergence, held_out, one_by_one, overview

SECTIONS = {
    "result": "Result",
    "curves": "Learning curves",
    "single": "One by one",
    "divergence": "Divergence",
    "cost": "Time and tokens",
    "setup": "Exact set-up",
}


def sweep_page(found: Findings) -> str:
    """The whole HTML file.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    measures = [held_out(found, name) for name in found.evaluations]
    result = _drawn(differences(found, name) for name in found.evaluations)
    curves = _drawn(overview(found, measure) for measure in (*measures, *TRAINING))
    single = _drawn(one_by_one(found, (*measures, TRAINING[0])))
    shift = _drawn(divergence(found))
    tables = "".join(_html(t) for name in found.evaluations if (t := curve_table(found, name)) is not None)
    missing = '<p class="missing">No run has rows in metrics.jsonl.</p>'
    alone = '<p class="missing">There is no condition to set against the baseline.</p>'
    unpaired = (
        '<p class="lead">Each condition with the baseline. The bands are of each mean by itself: the difference above '
        "pairs equal seeds and can be clear where bands overlap.</p>"
    )
    content = {
        "result": _result(found) + grid(result) + f'<p class="caption">{unbroken(HOW)}</p>',
        "curves": (grid(curves) or missing) + tables,
        "single": unpaired + grid(single) if single else alone,
        "divergence": grid(shift) + _html(divergence_table(found)) + _html(weight_table(found)),
        "cost": _html(cost_table(found)),
        "setup": _setup(found),
    }
    sections = [
        f'<section id="{key}"><h2>{escape(title)}</h2>{content[key]}</section>'
        for key, title in SECTIONS.items()
    ]
    drawn = [*result, *curves, *single, *shift]
    return document(found.sweep.name, SECTIONS, [_head(found), *sections], drawn)


def _head(found: Findings) -> str:
    runs, setup = found.sweep.runs, found.setup
    seeds = sorted({len(found.runs(c)) for c in found.conditions})
    sizes = "; ".join(
        f"{name}: {problems} problems, {n} samples of each" for name, (problems, n) in setup.sizes.items()
    )
    hours = sum(cost.total_seconds for cost in found.costs) / 3600
    tokens = sum(cost.total_tokens for cost in found.costs)
    left = f"{len(found.sweep.unfinished)} not finished, {len(found.sweep.not_started)} not started"
    facts = (
        (str(len(runs)), "finished runs", left),
        (str(len(found.conditions)), "conditions", f"baseline: {found.baseline}"),
        (" to ".join(str(n) for n in dict.fromkeys((seeds[0], seeds[-1]))), "seeds a condition", ""),
        (" or ".join(map(str, setup.steps)), "training steps", sizes),
        (f"{hours:.1f} h", "of all runs, one after another", f"{tokens:,} tokens sampled"),
    )
    shown = "".join(
        f"<div><dd>{escape(value)}</dd><dt>{escape(name)}<small>{escape(note)}</small></dt></div>"
        for value, name, note in facts
    )
    notes = "".join(f"<p>{escape(note)}</p>" for note in found.notes)
    return (
        f'<header class="top"><h1>{escape(found.sweep.name)}</h1><dl class="facts">{shown}</dl></header>'
        + (f'<div class="missing">{notes}</div>' if notes else "")
    )


def _result(found: Findings) -> str:
    parts = []
    for name in found.evaluations:
        said = "".join(f"<p>{escape(line)}</p>" for line in ranking(found.rows, name).split("\n"))
        parts.append(f"<h3>{escape(name)}</h3>{said}{_html(outcome_table(found, name))}")
    return "".join(parts)


def _setup(found: Findings) -> str:
    different = difference_table(found)
    return (
        ("" if different is None else _html(different))
        + details("Settings of all runs", "\n".join(shared_settings(found)))
        + _html(versions_table(found))
    )


def _html(content: Table) -> str:
    return table(content.header, content.rows, content.caption)


def _drawn(figures: Iterable[Figure | None]) -> list[Drawn]:
    return [Drawn(figure, render_inline(figure)) for figure in figures if figure is not None]
