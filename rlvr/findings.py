"""The paper's findings by one command: on one's own run, or as a study of many runs that is done in sittings.

`python -m rlvr.findings run=runs/latest` trains two controls for a finished run from the same base (GRPO with a KL
penalty, and supervised fine-tuning on correct answers), analyses all three against the base, cross-samples the run in
both directions with random positions as the control, writes the report, and puts the numbers side by side:

    <run>/findings/grpo_kl, sft     the controls, with their analyses
    <run>/analysis, cross_sampling  of the run itself
    <run>/findings/findings.md      the table, and findings.json with the same numbers
    <run>/report/report.html

A control is the run's configuration with only what its recipe changes (rlvr.cli.overrides.controls). The controls
are trained on the built-in tasks; the supervised one needs their worked answers.

`python -m rlvr.findings study=smollm2_135m model.path=FOLDER output=runs/study minutes=110` does what
recipes/study/smollm2_135m.yaml lists, or a file of one's own (study=FILE.yaml): trainings by recipe, seed and task,
their analyses, and cross-sampling. It writes, from whatever is finished,

    <output>/findings.md            a page that answers six questions, or says what is missing for them
    <output>/findings/              its figures (SVG), its tables and the raw rows (parquet), 10 MB at most

Either way every piece that is finished is skipped, so that the same command goes on where it was stopped or killed.

    run=FOLDER      a finished training run; runs/latest unless named
    study=NAME      in place of run=: a study in recipes/study, or its file
    output=FOLDER   where a study goes; runs/<name of the study> unless named
    questions=3,4   do only the pieces of a study that these questions wait for; all unless named
    minutes=N       stop after so many, a training with a checkpoint; 0: write the page of what there is

Everything else on the line is an argument of a study's trainings.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Container, Sequence
from dataclasses import asdict
from itertools import starmap
from pathlib import Path
from typing import Any

from rlvr.analysis.run import read_run
from rlvr.analysis.store import write_text
from rlvr.analysis.study import ANALYZE, CROSS, QUESTIONS, TRAIN, Piece, Records, Study, read_study
from rlvr.cli.opening import opened
from rlvr.cli.overrides.compose import load
from rlvr.cli.overrides.controls import require_same, shared_settings
from rlvr.cli.overrides.forms import options_of
from rlvr.cli.overrides.recipe_tree import STUDIES, recipes_folder
from rlvr.cli.overrides.shorthand import ShortForm, expand, override
from rlvr.errors import ConfigError, RlvrError
from rlvr.locks import exclusive
from rlvr.reporting.study.page import write_page
from rlvr.reporting.study.shifts import findings_table, read_crossings, read_shift
from rlvr.runtime.disk.files import path_of
from rlvr.runtime.tracking.output import lasting_output
from rlvr.sweep.pieces import run_pieces
from rlvr.sweep.plan import changed_keys
from rlvr.timing import Stopwatch

# What of the command line is the command's own; the help of each is above.
FORMS = tuple(ShortForm(name, "") for name in ("run", "study", "output", "questions", "minutes"))
CONTROLS = ("grpo_kl", "sft")


def main() -> None:
    """Do what is not finished and print the tables."""
    with lasting_output(), opened("findings"):
        given = expand(sys.argv[1:], FORMS)
        minutes = _minutes(given.own.get("minutes"))
        if "study" in given.own:
            if "run" in given.own:
                raise ConfigError("run= and study= together: findings are of one or the other, leave one out")
            asked = _questions(given.own.get("questions"))
            findings_of_study(_study(given.own, given.arguments), minutes, asked)
            return
        of_studies = [f"{key}={given.own[key]}" for key in ("output", "questions") if key in given.own]
        if unknown := [*given.arguments, *of_studies]:
            raise ConfigError(
                f"{' '.join(unknown)}: without study= the arguments are run=FOLDER, a finished training run, and "
                "minutes=N"
            )
        findings_of_run(_run_folder(given.own.get("run", "runs/latest")), minutes)


def findings_of_study(
    study: Study, minutes: float | None = None, questions: Container[int] = QUESTIONS
) -> bool:
    """Do what some questions of a study wait for and write its page; returns whether that is finished.

    Raises:
        ConfigError: the study cannot work, or a finished training in its folder was another one.
        RlvrError: a command failed; what was finished before stays.
    """
    records = Records(study.output / "pieces")
    with exclusive(study.output):
        pieces = [piece for piece in study.pieces() if any(q in questions for q in piece.questions)]
        if not pieces:
            raise ConfigError("questions=: this study asks none of them; see its file")
        left = [piece for piece in pieces if not records.finished(piece)] if minutes != 0 else []
        _refuse_others(study.pieces(), {piece.folder for piece in left if piece.kind != TRAIN})
        print(records.what_is_left(pieces), flush=True)
        try:
            whole = run_pieces(pieces, records, minutes, keep_checkpoints=study.cfg.keep_checkpoints)
        finally:  # also after a failure or Ctrl-C: from what is finished
            print(f"page in {write_page(study, records)}", flush=True)
    return whole


def _study(own: dict[str, str], extra: Sequence[str]) -> Study:
    name = own["study"]
    file = Path(name).expanduser() if name.endswith(".yaml") else recipes_folder() / STUDIES / f"{name}.yaml"
    if not file.is_file():
        known = ", ".join(options_of(recipes_folder() / STUDIES))
        raise ConfigError(f"study={name}: there is no {file}; use one of {known}, or name a file")
    output = Path(own.get("output", f"runs/{file.stem}")).expanduser().resolve()
    if (output / "metrics.jsonl").exists():
        raise ConfigError(
            f"output={output}: that is the folder of a training run; name one of the study's own"
        )
    return Study(read_study(file), output, tuple(extra))


def _refuse_others(pieces: Sequence[Piece], to_analyse: Container[Path]) -> None:
    """Compose every training, and refuse a folder that holds another one or lacks what is to be analysed.

    Raises:
        ConfigError: a training cannot be composed, or names what differs.
    """
    for piece in pieces:
        if piece.kind != TRAIN:
            continue
        cfg, finished = load(piece.arguments), piece.marker.is_file()
        if (
            finished
            and piece.folder in to_analyse
            and not (piece.folder / "policy" / "config.json").is_file()
        ):
            raise ConfigError(
                f"{piece.folder} is to be analysed and has no policy: it was removed, or trained when the study did "
                "not ask for it; put it or the study back as it was, choose another output=, or remove the folder to "
                "train it again"
            )
        if changed := changed_keys(piece.folder, cfg, finished=finished):
            raise ConfigError(
                f"{piece.folder} holds a run of another configuration ({'; '.join(changed)}); put the study back as "
                "it was, choose another output=, or remove the folder"
            )


def findings_of_run(run: Path, minutes: float | None) -> None:
    """Train the controls of a run, analyse all, cross-sample, and write report and table.

    Raises:
        ConfigError: the run has no such controls, or a finished control was not trained as the run was.
        RlvrError: a command failed; what was finished before stays.
    """
    watch = Stopwatch()
    folders = {"run": run} | {name: run / "findings" / name for name in CONTROLS}
    pieces = [_control(name, run, folders[name]) for name in CONTROLS]
    pieces += [
        Piece.of(ANALYZE, f"analysis of {name}", folder, f"run={folder}") for name, folder in folders.items()
    ]
    arguments = (f"run={run}", "rules=js,random", "budgets=0.02,0.04,0.1")
    pieces.append(Piece.of(CROSS, "cross-sampling", run, *arguments))
    if not run_pieces(pieces, Records(run / "findings" / "pieces", run), minutes):
        return
    _report([*folders.values()], run / "report")
    shifts = [read_shift(folder) for folder in folders.values()]
    crossings, endpoints = read_crossings(run)
    table = findings_table(shifts, crossings, endpoints)
    write_text(run / "findings" / "findings.md", table)
    numbers: dict[str, Any] = {
        "shifts": [asdict(s) for s in shifts],
        "crossings": [asdict(c) for c in crossings],
        "endpoints": {name: asdict(end) for name, end in endpoints.items()},
        "seconds": round(watch.seconds, 1),
    }
    write_text(run / "findings" / "findings.json", json.dumps(numbers, indent=2) + "\n")
    print(f"\n{table}\n{run / 'findings' / 'findings.md'}, {run / 'report' / 'report.html'}")


def _minutes(text: str | None) -> float | None:
    try:
        minutes = None if text is None else float(text)
    except ValueError as error:
        raise ConfigError(f"minutes={text}: expected a number of minutes, such as minutes=110") from error
    if minutes is not None and not 0 <= minutes < float("inf"):
        raise ConfigError(f"minutes={text}: expected a number of minutes, 0 or more")
    return minutes


def _questions(text: str | None) -> Container[int]:
    if text is None:
        return QUESTIONS
    named = {part.strip() for part in text.split(",")}
    if not named <= {str(number) for number in QUESTIONS}:
        known = "; ".join(f"{number} {question}" for number, question in QUESTIONS.items())
        raise ConfigError(f"questions={text}: expected numbers such as questions=3,4, of {known}")
    return [number for number in QUESTIONS if str(number) in named]


def _run_folder(name: str) -> Path:
    run = path_of(name, "run").resolve()
    if not (run / "summary.json").exists():
        raise ConfigError(
            f"run={run}: not a finished training run (no summary.json). Train one first, "
            "`make quickstart` for instance."
        )
    return run


def _control(recipe: str, run: Path, folder: Path) -> Piece:
    shared = shared_settings(read_run(run), recipe)
    if (folder / "summary.json").exists():
        require_same(read_run(folder), shared)
    root, kept = override("run.root", str(folder.parent)), starmap(override, shared.items())
    own = (f"recipe={recipe}", root, f"run.name={recipe}", "run.resume=auto")
    return Piece.of(TRAIN, f"control {recipe}", folder, *own, *kept, "tracking.wandb=off")


def _report(runs: Sequence[Path], output: Path) -> None:
    command = [sys.executable, "-m", "rlvr.report", *map(str, runs), f"output={output}"]
    print(f"\n== report: python {' '.join(command[1:])}", flush=True)
    if code := subprocess.run(command).returncode:
        raise RlvrError(f"the report ended with exit code {code}; mend that and start this command again")


if __name__ == "__main__":
    main()
