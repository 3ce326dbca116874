"""What is finished of a study, read for its page."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from rlvr.analysis.loaded import LoadedAnalysis
from rlvr.analysis.study import ANALYZE, CROSS, TRAIN, Piece, Records, Study, run_name
from rlvr.analysis.sweep.runs import FinishedRun, Planned, SweepFolder, read_sweep
from rlvr.analysis.sweep.setup import check_comparable
from rlvr.analysis.sweep.tables import SweepResult, sweep_result
from rlvr.reporting.sources import Cross, read_cross

NOTHING = SweepFolder("", (), (), (), ())


@dataclass(frozen=True)  # without slots, so that what has been read is kept
class Found:
    """A study and how its pieces were done."""

    study: Study
    records: Records

    @cached_property
    def pieces(self) -> tuple[Piece, ...]:
        """All of the study."""
        return self.study.pieces()

    @cached_property
    def finished(self) -> frozenset[str]:
        """The names of the pieces that need not be done."""
        return frozenset(piece.name for piece in self.pieces if self.records.finished(piece))

    @cached_property
    def analyses(self) -> dict[str, LoadedAnalysis]:
        """Every finished analysis by the name of its training."""
        done = {p.folder for p in self.pieces if p.kind == ANALYZE and p.name in self.finished}
        trained = [p.folder for p in self.pieces if p.folder in done]
        return {self.study.name(folder): LoadedAnalysis(folder / "analysis") for folder in trained}

    @property
    def main(self) -> LoadedAnalysis | None:
        """The finished analysis of the main run."""
        return self.analyses.get(self.study.name(self.study.main))

    @cached_property
    def cross(self) -> Cross | None:
        """Cross-sampling of the main run, as far as it is; None before the first rule is complete."""
        folder = self.study.main / "cross_sampling"
        begun = any(p.kind == CROSS and self.records.of(p) is not None for p in self.pieces)
        return read_cross(folder) if begun and (folder / "cross_sampling.json").is_file() else None

    @cached_property
    def _sweeps(self) -> dict[str, SweepFolder]:
        """The folders of the tasks that have a finished training; reading one reads all its last samples."""
        trained = [p.folder.parent for p in self.pieces if p.kind == TRAIN and p.name in self.finished]
        return {
            task.name: read_sweep(task, Planned(self._jobs(task.name))) for task in dict.fromkeys(trained)
        }

    def _jobs(self, task: str) -> tuple[str, ...]:
        return tuple(p.folder.name for p in self.pieces if p.kind == TRAIN and p.folder.parent.name == task)

    def runs(self, task: str) -> list[FinishedRun]:
        """The finished trainings of a task."""
        return [run for run in self._sweeps.get(task, NOTHING).runs if run.name in self._jobs(task)]

    def notes(self, task: str) -> tuple[str, ...]:
        """What is missing or damaged in them, one sentence each."""
        return self._sweeps.get(task, NOTHING).notes

    def weighting(self) -> SweepResult | None:
        """The weightings over seeds, against the first recipe; None before there is a run of it and of another one."""
        cfg, sweep = self.study.cfg, self._sweeps.get(self.study.task, NOTHING)
        names = [run_name(recipe, seed) for seed in cfg.seeds for recipe in cfg.weighting]
        own = replace(
            sweep,
            runs=tuple(run for run in sweep.runs if run.name in names),
            unfinished=tuple(name for name in sweep.unfinished if name in names),
            not_started=tuple(name for name in sweep.not_started if name in names),
        )
        baseline, conditions = f"recipe-{cfg.weighting[0]}", {run.condition for run in own.runs}
        if len(conditions) < 2 or baseline not in conditions:
            return None
        check_comparable(own.runs)
        return sweep_result(own, baseline)
