"""The page about a run, or about several over each other: figures, tables, token pages and the exact set-up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from omegaconf import OmegaConf

from rlvr.analysis.text_tables import TextTable
from rlvr.reporting.figures.canvas import Drawn
from rlvr.reporting.pages.render import document
from rlvr.reporting.pages.tables import (
    budget_table,
    facts,
    identity_table,
    outcome_table,
    summary_table,
    versions_table,
)
from rlvr.reporting.sources import ReportedRun
from rlvr.reporting.theme import LEVEL_EDGES


@dataclass(frozen=True, slots=True)
class Material:
    """Everything that the page is made from; the figures of shift and cross-sampling are listed run by run."""

    runs: tuple[ReportedRun, ...]
    training: tuple[Drawn, ...]
    shift: tuple[tuple[Drawn, ...], ...]
    cross: tuple[tuple[Drawn, ...], ...]
    tokens: dict[str, Any] | None  # content of the token pages; None where there is no analysis
    chosen: str  # how the responses of the token pages were chosen; empty without them


@dataclass(frozen=True, slots=True)
class _Shown:
    """What the sections of the page show of one run."""

    name: str
    analysed: bool
    shift: tuple[Drawn, ...]
    identities: TextTable | None
    outcomes: TextTable | None
    cross: tuple[Drawn, ...]
    budgets: TextTable | None
    configs: tuple[tuple[str, str], ...]  # what was run, its configuration
    analyze: str  # the command that makes a missing analysis
    cross_sample: str


def page(material: Material) -> str:
    """The whole HTML file about runs."""
    runs = material.runs
    names = [run.name for run in runs]
    limits = sorted({run.analysis.moved_above for run in runs if run.analysis is not None})
    return document(
        "run.html",
        ", ".join(names),
        [*material.training, *chain(*material.shift, *material.cross)],
        tokens=material.tokens,
        heading=" against ".join(names) if len(runs) <= 3 else f"{len(runs)} runs",
        several=len(runs) > 1,
        lead=_lead(runs[0]),
        facts=[*facts(runs[0])] if len(runs) == 1 else [],
        summary=summary_table(runs) if len(runs) > 1 else None,
        training=material.training,
        runs=[*map(_shown, runs, material.shift, material.cross)],
        chosen=material.chosen,
        edges=["0", *(f"{edge:g}" for edge in LEVEL_EDGES)],
        moved_above=" or ".join(f"{limit:g}" for limit in limits) + " (as analysed)" * (len(limits) > 1),
        versions=versions_table(runs),
    )


def _shown(run: ReportedRun, shift: tuple[Drawn, ...], cross: tuple[Drawn, ...]) -> _Shown:
    return _Shown(
        name=run.name,
        analysed=run.analysis is not None,
        shift=shift,
        identities=identity_table(run.analysis) if run.analysis else None,
        outcomes=outcome_table(run.analysis) if run.analysis else None,
        cross=cross,
        budgets=budget_table(run.cross) if run.cross else None,
        configs=(*_configs(run),),
        analyze=_command(run, "analyze", "analysis"),
        cross_sample=_command(run, "cross_sample", "cross_sampling"),
    )


def _command(run: ReportedRun, module: str, below: str) -> str:
    """The command that makes a missing part of a run, or of two models where the folder is not that of a run."""
    if run.config:
        return f"rlvr.{module} run={run.folder}"
    return f"rlvr.{module} base=BASE policy=POLICY output={run.folder / below}"


def _lead(run: ReportedRun) -> str:
    s = run.summary
    if s is None:
        unfinished = "This run has no summary.json: it has not finished, or it is an analysis alone."
        return unfinished if run.train else ""
    minutes = s["train_seconds"] / 60
    return (
        f"{s['recipe']} on {s['data']}, model {s['model']}, seed {s['seed']}: {s['steps']} steps in {minutes:.1f} min, "
        f"{s['tokens_generated']:,} tokens sampled."
    )


def _configs(run: ReportedRun) -> Iterator[tuple[str, str]]:
    """The configurations as they were run."""
    if run.config:
        yield f"{run.name}: training, config.yaml", run.config
    for what, part in (("analysis", run.analysis), ("cross-sampling", run.cross)):
        if part is not None:
            yield f"{run.name}: {what}", OmegaConf.to_yaml(OmegaConf.create(part.content["config"]))


def chosen_text(pairs: Sequence[dict[str, Any]], analysed: int) -> str:
    """How the responses of the token pages were chosen, in words and numbers."""
    divergent = sum(pair["why"] == "divergent" for pair in pairs)
    paired = any(pair["partner"] is not None for pair in pairs)
    units, where = ("pairs", " in either response") if paired else ("responses", "")
    beside = (
        "Each pair is a response of the policy and one of the base to the same problem. " if paired else ""
    )
    return (
        f"{divergent} {units} with the largest mean divergence{where}, and {len(pairs) - divergent} drawn at "
        f"random from the rest{', run by run' if analysed > 1 else ''}. {beside}Both models score every "
        "token after the same prefix; the shade is the divergence of their next-token distributions there."
    )
