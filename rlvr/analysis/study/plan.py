"""The pieces of a study in the order in which they are done, and the questions that each answers. Pure.

<output>/<task>/recipe-<recipe>_seed-<seed>    a training, as a job of a sweep is named; its analysis in analysis/
        pieces/<piece>.json                    how it was done, see rlvr.analysis.study.records
        findings.md, findings/                 the page, its figures and tables
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
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

    def name(self, training: Path) -> str:
        """Of a training's folder: the name of its piece."""
        return str(training.relative_to(self.output))

    @property
    def main(self) -> Path:
        """The folder of the main run."""
        return self.folder(self.task, self.cfg.weighting[0], self.cfg.seeds[0])

    def pieces(self) -> tuple[Piece, ...]:
        """The main run with all that is asked of it, then the weightings seed by seed, then task by task."""
        found: dict[str, Piece] = {}  # the first mention of one counts, for the questions of all
        for piece in self._mentioned():
            first = found.get(piece.name, piece)
            questions = tuple(sorted({*first.questions, *piece.questions}))
            found[piece.name] = replace(first, questions=questions)
        return tuple(found.values())

    def _mentioned(self) -> Iterator[Piece]:
        cfg, first = self.cfg, self.cfg.seeds[0]
        yield self._train(self.task, cfg.weighting[0], first, 1, 2, 5, 6)
        yield self._analyze(self.task, cfg.weighting[0], first, 1, 5, 6)
        yield self._cross_sample(2, 6)
        for seed in cfg.seeds:
            for recipe in cfg.weighting:
                yield self._train(self.task, recipe, seed, 4)
        for task in cfg.tasks:
            for recipe in cfg.training:
                yield self._train(task, recipe, first, 3)
                yield self._analyze(task, recipe, first, 3)

    def _train(self, task: str, recipe: str, seed: int, *questions: int) -> Piece:
        cfg, folder = self.cfg, self.folder(task, recipe, seed)
        analysed = (recipe in cfg.training and seed == cfg.seeds[0]) or folder == self.main
        arguments = (
            f"recipe={recipe}", *cfg.trainings, *cfg.tasks[task], *cfg.recipes.get(recipe, ()), *self.extra,
            f"seed={seed}", f"run.root={folder.parent}", f"run.name={folder.name}", "run.resume=auto",
            f"run.export={str(analysed).lower()}",
        )  # fmt: skip
        marker = folder / "summary.json"
        return Piece(self.name(folder), TRAIN, "rlvr.train", arguments, folder, marker, questions)

    def _analyze(self, task: str, recipe: str, seed: int, *questions: int) -> Piece:
        folder = self.folder(task, recipe, seed)
        name, marker = f"{self.name(folder)}/{ANALYZE}", folder / "analysis" / "analysis.json"
        arguments = (f"run={folder}", *self.cfg.analyze)
        return Piece(name, ANALYZE, "rlvr.analyze", arguments, folder, marker, questions)

    def _cross_sample(self, *questions: int) -> Piece:
        folder = self.main
        name, marker = f"{self.name(folder)}/{CROSS}", folder / "cross_sampling" / "classes.csv"
        arguments = (f"run={folder}", *self.cfg.cross_sample)
        return Piece(name, CROSS, "rlvr.cross_sample", arguments, folder, marker, questions)


def run_name(recipe: str, seed: int) -> str:
    """The name of a training's folder, which rlvr.analysis.sweep reads."""
    return f"recipe-{recipe}_seed-{seed}"
