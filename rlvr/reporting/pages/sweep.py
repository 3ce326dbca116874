"""The page about a sweep: tables and figures in one HTML file."""

from __future__ import annotations

from collections.abc import Iterable

from rlvr.analysis.sweep import tables
from rlvr.analysis.sweep.compare import ranking
from rlvr.analysis.sweep.tables import Findings
from rlvr.reporting.figures.canvas import Drawn, Figure, render
from rlvr.reporting.figures.sweep import TRAINING, differences, divergence, held_out, one_by_one, overview
from rlvr.reporting.pages.render import Fact, document


def sweep_page(found: Findings) -> str:
    """The whole HTML file.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    measures = [held_out(name) for name in found.evaluations]
    result = _drawn(differences(found, name) for name in found.evaluations)
    curves = _drawn(overview(found, (*measures, *TRAINING)))
    single = _drawn(one_by_one(found, (*measures, TRAINING[0])))
    shift = _drawn(divergence(found))
    return document(
        "sweep.html",
        found.sweep.name,
        [*result, *curves, *single, *shift],
        heading=found.sweep.name,
        several=False,
        facts=_facts(found),
        found=found,
        tables=tables,
        ranking=ranking,
        differences=result,
        curves=curves,
        single=single,
        divergence=shift,
    )


def _facts(found: Findings) -> list[Fact]:
    sweep, setup = found.sweep, found.setup
    seeds = sorted({len(found.runs(c)) for c in found.conditions})
    sizes = "; ".join(
        f"{name}: {problems} problems, {n} samples of each" for name, (problems, n) in setup.sizes.items()
    )
    hours = sum(cost.total_seconds for cost in found.costs) / 3600
    tokens = sum(cost.total_tokens for cost in found.costs)
    left = f"{len(sweep.unfinished)} not finished, {len(sweep.not_started)} not started"
    return [
        Fact(str(len(sweep.runs)), "finished runs", left),
        Fact(str(len(found.conditions)), "conditions", f"baseline: {found.baseline}"),
        Fact(" to ".join(str(n) for n in dict.fromkeys((seeds[0], seeds[-1]))), "seeds a condition", ""),
        Fact(" or ".join(map(str, setup.steps)), "training steps", sizes),
        Fact(f"{hours:.1f} h", "of all runs, one after another", f"{tokens:,} tokens sampled"),
    ]


def _drawn(figures: Iterable[Figure | None]) -> list[Drawn]:
    return [render(figure) for figure in figures if figure is not None]
