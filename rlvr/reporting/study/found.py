"""What is finished of a study, read for its page."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from rlvr.analysis.loaded import LoadedAnalysis
from rlvr.analysis.study import ANALYZE, CROSS, TRAIN, Piece, Study, run_name
from rlvr.analysis.sweep.runs import FinishedRun, Planned, SweepFolder, read_sweep
from rlvr.analysis.sweep.setup import check_comparable
from rlvr.analysis.sweep.tables import SweepResult, sweep_result
from rlvr.reporting.sources import Cross, read_cross


@dataclass(frozen=True)  # without slots, so that what has been read is kept
class Found:
    """A study and which of its pieces are finished."""

    study: Study
    pieces: tuple[Piece, ...]
    finished: frozenset[str]  # names
    begun: frozenset[str]  # those that have a record of their present arguments, finished or not

    def missing(self, question: int) -> list[str]:
        """The names of the pieces that a question still waits for."""
        return [p.name for p in self.pieces if question in p.questions and p.name not in self.finished]

    def part_of(self, question: int) -> bool:
        """Whether the study asks the question."""
        asks = {3: self.study.cfg.training, 4: self.study.cfg.weighting[1:]}
        return bool(asks.get(question, True))

    def analysis(self, folder: Path) -> LoadedAnalysis | None:
        """The finished analysis of a training."""
        done = any(p.kind == ANALYZE and p.folder == folder and p.name in self.finished for p in self.pieces)
        return LoadedAnalysis(folder / "analysis") if done else None

    def analyses(self) -> dict[str, LoadedAnalysis]:
        """Every finished analysis by the name of its training."""
        named = {p.folder: self.study.name(p.folder) for p in self.pieces}
        found = {name: self.analysis(folder) for folder, name in named.items()}
        return {name: analysis for name, analysis in found.items() if analysis is not None}

    def cross(self) -> Cross | None:
        """Cross-sampling of the main run, as far as it is; None before the first rule is complete."""
        folder = self.study.main / "cross_sampling"
        known = any(p.kind == CROSS and p.name in self.begun for p in self.pieces)
        return read_cross(folder) if known and (folder / "cross_sampling.json").is_file() else None

    @cached_property
    def _sweeps(self) -> dict[str, SweepFolder]:
        """The folders of the tasks that have a finished training; reading one reads all its last samples."""
        begun = [task for task in self.study.cfg.tasks if self._names(task, finished=True)]
        return {task: read_sweep(self.study.output / task, Planned(self._names(task))) for task in begun}

    def runs(self, task: str) -> list[FinishedRun]:
        """The finished trainings of a task."""
        sweep = self._sweeps.get(task)
        return [] if sweep is None else [run for run in sweep.runs if run.name in self._names(task)]

    def notes(self, task: str) -> tuple[str, ...]:
        """What is missing or damaged in them, one sentence each."""
        sweep = self._sweeps.get(task)
        return () if sweep is None else sweep.notes

    def _names(self, task: str, finished: bool = False) -> tuple[str, ...]:
        return tuple(
            p.folder.name
            for p in self.pieces
            if p.kind == TRAIN and p.folder.parent.name == task and (p.name in self.finished or not finished)
        )

    def weighting(self) -> SweepResult | None:
        """The weightings over seeds, against the first recipe; None before there is a run of it and of another one."""
        cfg, sweep = self.study.cfg, self._sweeps.get(self.study.task)
        names = [run_name(recipe, seed) for seed in cfg.seeds for recipe in cfg.weighting]
        runs = () if sweep is None else tuple(run for run in sweep.runs if run.name in names)
        baseline = f"recipe-{cfg.weighting[0]}"
        conditions = {run.condition for run in runs}
        if sweep is None or len(conditions) < 2 or baseline not in conditions:
            return None
        own = replace(
            sweep,
            runs=runs,
            unfinished=tuple(name for name in sweep.unfinished if name in names),
            not_started=tuple(name for name in sweep.not_started if name in names),
        )
        check_comparable(own.runs)
        return sweep_result(own, baseline)
