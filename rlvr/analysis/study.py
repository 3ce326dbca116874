"""A study: several trainings and their analyses as one list of pieces, each of which answers questions.

It is stated by a file, recipes/study/NAME.yaml or one of one's own, where all sizes stand; the first task, the first
recipe of `weighting` and the first seed are its main run.

<output>/<task>/recipe-<recipe>_seed-<seed>    a training, as a job of a sweep is named; its analysis in analysis/
        pieces/<piece>.json                    the piece's command, its seconds in all sittings together, when it
                                               ended and on which machine
        findings.md, findings/                 the page, its figures and tables

Folders below the root of all pieces are kept relative to it, so that everything can be moved to another machine.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from rlvr.analysis.store import write_text
from rlvr.errors import ConfigError, DataError

TRAIN, ANALYZE, CROSS = "train", "analyze", "cross-sample"
COMMANDS = {  # kind of a piece -> what `python -m` starts, and what it writes last, in the folder of the training
    TRAIN: ("rlvr.train", "summary.json"),
    ANALYZE: ("rlvr.analyze", "analysis/analysis.json"),
    CROSS: ("rlvr.cross_sample", "cross_sampling/classes.csv"),
}
QUESTIONS = {
    1: "Where did the policy move?",
    2: "Which rule finds the tokens that matter?",
    3: "Where do RL, RL with a KL penalty, rejection sampling and supervised training differ?",
    4: "Does weighting tokens help?",
    5: "How much hangs on truncation and on the threshold?",
    6: "Which classes of tokens move?",
}
RESERVED = ("pieces", "findings")  # folders beside those of the tasks


@dataclass
class StudyConfig:
    """What is trained, analysed and compared; every list of text is as on the command line of the tool that gets it."""

    title: str = MISSING  # of the page
    trainings: list[str] = field(default_factory=list)  # arguments of every training
    tasks: dict[str, list[str]] = field(default_factory=dict)  # name -> arguments of the trainings on it
    # arguments of the trainings with one recipe alone
    recipes: dict[str, list[str]] = field(default_factory=dict)
    weighting: list[str] = field(default_factory=list)  # recipes compared over seeds, on the first task
    seeds: list[int] = field(default_factory=lambda: [1])
    # recipes compared on every task, with the first seed; analysed
    training: list[str] = field(default_factory=list)
    analyze: list[str] = field(default_factory=list)  # arguments of every `rlvr analyze`
    cross_sample: list[str] = field(default_factory=list)  # arguments of `rlvr cross-sample`, of the main run
    # of finished trainings; those that are analysed keep their policy in any case
    keep_checkpoints: bool = False


def read_study(file: Path) -> StudyConfig:
    """The study of a file.

    Raises:
        ConfigError: the file cannot be read, or does not say what a study is made of.
    """
    try:
        merged = OmegaConf.merge(OmegaConf.structured(StudyConfig), OmegaConf.load(file))
        cfg = OmegaConf.to_object(merged)
    except (OSError, OmegaConfBaseException, YAMLError, ValueError) as error:  # a file of the user's
        keys = ", ".join(StudyConfig.__dataclass_fields__)
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"study={file}: cannot be read as a study ({reason}); its keys are {keys}"
        ) from error
    assert isinstance(cfg, StudyConfig)
    if lacking := [key for key in ("tasks", "weighting", "seeds") if not getattr(cfg, key)]:
        raise ConfigError(f"study={file}: {', '.join(lacking)} is empty; name at least one each")
    if odd := [name for name in cfg.tasks if "/" in name or name in RESERVED]:
        raise ConfigError(
            f"study={file}: tasks: {', '.join(odd)} cannot be the name of a folder of its own; no / in it, and not "
            f"{' or '.join(RESERVED)}"
        )
    if unused := sorted(set(cfg.recipes) - {*cfg.weighting, *cfg.training}):
        raise ConfigError(f"study={file}: recipes: {', '.join(unused)} is in neither weighting nor training")
    return cfg


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

    @classmethod
    def of(
        cls, kind: str, name: str, folder: Path, *arguments: str, questions: tuple[int, ...] = ()
    ) -> Piece:
        """The command of a kind on the folder of a training."""
        module, last = COMMANDS[kind]
        return cls(name, kind, module, arguments, folder, folder / last, questions)


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
        yield self._after(self.main, ANALYZE, 1, 5, 6)
        yield self._after(self.main, CROSS, 2, 6)
        for seed in cfg.seeds:
            for recipe in cfg.weighting:
                yield self._train(self.task, recipe, seed, 4)
        for task in cfg.tasks:
            for recipe in cfg.training:
                yield self._train(task, recipe, first, 3)
                yield self._after(self.folder(task, recipe, first), ANALYZE, 3)

    def _train(self, task: str, recipe: str, seed: int, *questions: int) -> Piece:
        cfg, folder = self.cfg, self.folder(task, recipe, seed)
        analysed = (recipe in cfg.training and seed == cfg.seeds[0]) or folder == self.main
        arguments = (
            f"recipe={recipe}", *cfg.trainings, *cfg.tasks[task], *cfg.recipes.get(recipe, ()), *self.extra,
            f"seed={seed}", f"run.root={folder.parent}", f"run.name={folder.name}", "run.resume=auto",
            f"run.export={str(analysed).lower()}",
        )  # fmt: skip
        return Piece.of(TRAIN, self.name(folder), folder, *arguments, questions=questions)

    def _after(self, folder: Path, kind: str, *questions: int) -> Piece:
        """What is done with a finished training: its analysis, or cross-sampling."""
        own = self.cfg.analyze if kind == ANALYZE else self.cfg.cross_sample
        return Piece.of(
            kind, f"{self.name(folder)}/{kind}", folder, f"run={folder}", *own, questions=questions
        )


def run_name(recipe: str, seed: int) -> str:
    """The name of a training's folder, which rlvr.analysis.sweep reads."""
    return f"recipe-{recipe}_seed-{seed}"


@dataclass(frozen=True, slots=True)
class Record:
    """How a piece was done, or has been begun."""

    arguments: tuple[str, ...]
    seconds: float = 0.0  # of all sittings, those that were killed left out
    finished: str = ""  # date of the end, UTC; empty: it has only been begun
    machine: str = ""

    def longer(self, seconds: float) -> Record:
        """The same after another sitting of so many seconds."""
        return replace(self, seconds=round(self.seconds + seconds, 1))


class Records:
    """The records of a folder; `root` is the folder that all the pieces work in, its parent unless given."""

    def __init__(self, folder: Path, root: Path | None = None) -> None:
        self._folder, self._root = folder, root or folder.parent

    def _movable(self, arguments: Sequence[str]) -> tuple[str, ...]:
        """The arguments with "." for the root, where it is a whole path or the beginning of one."""
        root = re.compile(rf"(^|[=\[,'\"]){re.escape(str(self._root))}(?=$|[/\],'\"])")
        return tuple(root.sub(r"\1.", argument) for argument in arguments)

    def _file(self, piece: Piece) -> Path:
        return self._folder / f"{piece.name.replace('/', '--')}.json"

    def of(self, piece: Piece) -> Record | None:
        """The record of the piece with its present arguments; None where there is none.

        Raises:
            DataError: the file is damaged.
        """
        file = self._file(piece)
        if not file.is_file():
            return None
        try:
            content = json.loads(file.read_text())
            found = Record(**content | {"arguments": self._movable(content["arguments"])})
        except (ValueError, TypeError, KeyError) as error:  # a file that a user may have touched
            raise DataError(f"{file}: damaged ({error!r}); remove it, and the piece is done again") from error
        return found if found.arguments == self._movable(piece.arguments) else None

    def write(self, piece: Piece, record: Record) -> None:
        """Keep a record; raises RlvrError where it cannot be written."""
        kept = replace(record, arguments=self._movable(record.arguments))
        write_text(self._file(piece), json.dumps(asdict(kept), indent=1) + "\n")

    def finished(self, piece: Piece) -> bool:
        """Whether a piece need not be done: a training that has its summary, anything else by its record.

        What is older than the training that it is of is to be done again: that has gone on since.
        """
        if not piece.marker.is_file():
            return False
        if piece.kind == TRAIN:
            return True
        trained, record = piece.folder / "summary.json", self.of(piece)
        if trained.is_file() and trained.stat().st_mtime > piece.marker.stat().st_mtime:
            return False
        return record is not None and record.finished != ""

    def what_is_left(self, pieces: Sequence[Piece]) -> str:
        """How many pieces are to be done and about how long they take, by those of their kind that are done."""
        left = [piece for piece in pieces if not self.finished(piece)]
        seconds: dict[str, list[float]] = {}
        for piece in pieces:
            record = self.of(piece)
            if record is not None and record.finished and record.seconds:
                seconds.setdefault(piece.kind, []).append(record.seconds)
        parts, total = [], 0.0
        for kind in dict.fromkeys(piece.kind for piece in left):
            count, known = sum(piece.kind == kind for piece in left), seconds.get(kind)
            each = "time not known yet" if known is None else f"{sum(known) / len(known) / 60:.1f} min each"
            parts.append(f"{count} x {kind}, {each}")
            total += 0.0 if known is None else count * sum(known) / len(known)
        done = f"{len(pieces) - len(left)} of {len(pieces)} pieces are done"
        about = f", about {total / 60:.0f} min" if total else ""
        return f"{done}; left{about}: {'; '.join(parts)}" if left else done
