"""The pieces of a study in the order in which they are done, and the questions that each answers. Pure.

<output>/<task>/recipe-<recipe>_seed-<seed>    a training, as a job of a sweep is named; its analysis in analysis/
        pieces/<piece>.json                    how it was done, see rlvr.analysis.study.records
        findings.md, findings/                 the page, its figures and tables
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rlvr.analysis.study.config import StudyConfig

TRAIN, ANALYZE, CROSS = "train", "analyze", "cross-sample"
QUESTIONS = {
    1: "Where did the policy move?",
    2: "Which rule finds the tokens that matter?",
    3: "Where do RL, RL with a KL penalty, rejection sampling and supervised training differ?",
    4: "Does weighting tokens help?",
    5: "How much hangs on truncation and on the threshold?",
    6: "Which classes of tokens move?",
}


@dataclass(frozen=True, slots=True)
class Piece:
    """One command of a study, which can be stopped and given again."""

    name: str
    kind: str  # TRAIN, ANALYZE or CROSS: pieces of a kind take about as long
    module: str  # what `python -m` starts
    arguments: tuple[str, ...]
    folder: Path  # of the training
    marker: Path  # the file that the command writes last
    questions: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Study:
    """A study with the folder that it is done in."""

    cfg: StudyConfig
    output: Path
    # Arguments of every training that the command line adds, such as model.path=...
    extra: tuple[str, ...] = ()

    @property
    def task(self) -> str:
        """The task of the main run and of the weightings."""
        return next(iter(self.cfg.tasks))

    def folder(self, task: str, recipe: str, seed: int) -> Path:
        """Of a training."""
        return self.output / task / run_name(recipe, seed)

    @property
    def main(self) -> Path:
        """The folder of the main run."""
        return self.folder(self.task, self.cfg.weighting[0], self.cfg.seeds[0])

    def pieces(self) -> tuple[Piece, ...]:
        """The main run with all that is asked of it, then the weightings seed by seed, then task by task."""
        cfg, first, planned = self.cfg, self.cfg.seeds[0], _Planned(self)
        planned.train(self.task, cfg.weighting[0], first, 1, 2, 5, 6)
        planned.analyze(self.task, cfg.weighting[0], first, 1, 5, 6)
        planned.cross_sample(2, 6)
        for seed in cfg.seeds:
            for recipe in cfg.weighting:
                planned.train(self.task, recipe, seed, 4)
        for task in cfg.tasks:
            for recipe in cfg.training:
                planned.train(task, recipe, first, 3)
                planned.analyze(task, recipe, first, 3)
        return tuple(planned.found.values())


def run_name(recipe: str, seed: int) -> str:
    """The name of a training's folder, which rlvr.analysis.sweep reads."""
    return f"recipe-{recipe}_seed-{seed}"


@dataclass(slots=True)
class _Planned:
    """Pieces by name, in their order; the first mention of one counts."""

    study: Study
    found: dict[str, Piece] = field(default_factory=dict)

    def _add(
        self, kind: str, folder: Path, marker: str, arguments: Sequence[str], questions: tuple[int, ...]
    ) -> None:
        name = str(folder.relative_to(self.study.output)) + ("" if kind == TRAIN else f"/{kind}")
        module = {TRAIN: "rlvr.train", ANALYZE: "rlvr.analyze", CROSS: "rlvr.cross_sample"}[kind]
        piece = Piece(name, kind, module, tuple(arguments), folder, folder / marker)
        first = self.found.get(name, piece)
        self.found[name] = replace(first, questions=tuple(sorted({*first.questions, *questions})))

    def train(self, task: str, recipe: str, seed: int, *questions: int) -> None:
        cfg, folder = self.study.cfg, self.study.folder(task, recipe, seed)
        analysed = (recipe in cfg.training and seed == cfg.seeds[0]) or folder == self.study.main
        arguments = [
            f"recipe={recipe}", *cfg.trainings, *cfg.tasks[task], *cfg.recipes.get(recipe, ()), *self.study.extra,
            f"seed={seed}", f"run.root={folder.parent}", f"run.name={folder.name}", "run.resume=auto",
            f"run.export={str(analysed).lower()}",
        ]  # fmt: skip
        self._add(TRAIN, folder, "summary.json", arguments, questions)

    def analyze(self, task: str, recipe: str, seed: int, *questions: int) -> None:
        folder = self.study.folder(task, recipe, seed)
        arguments = (f"run={folder}", *self.study.cfg.analyze)
        self._add(ANALYZE, folder, "analysis/analysis.json", arguments, questions)

    def cross_sample(self, *questions: int) -> None:
        folder = self.study.main
        arguments = (f"run={folder}", *self.study.cfg.cross_sample)
        self._add(CROSS, folder, "cross_sampling/classes.csv", arguments, questions)
