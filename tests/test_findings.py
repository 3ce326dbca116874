"""The command that makes findings, without its trainings: which pieces a line asks for, and what it refuses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from rlvr import findings
from rlvr.analysis.study import Piece, Record, Records, Study, StudyConfig
from rlvr.cli.overrides.compose import load
from rlvr.errors import ConfigError

CFG = StudyConfig(
    title="made up", tasks={"sums": ["steps=2"]}, weighting=["dapo", "dapo_random"], training=["dapo", "sft"]
)
MAIN = "sums/recipe-dapo_seed-1"


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study(CFG, tmp_path / "study")


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the pieces that would be done."""
    names: list[str] = []

    def note(pieces: Sequence[Piece], *_: object, **__: object) -> bool:
        names.extend(piece.name for piece in pieces)
        return True

    monkeypatch.setattr(findings, "run_pieces", note)
    return names


def finished_training(study: Study) -> Piece:
    """The main run, as it lies on disk with its policy removed."""
    piece = study.pieces()[0]
    piece.folder.mkdir(parents=True)
    (piece.folder / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.structured(load(piece.arguments))))
    piece.marker.write_text('{"seed": 1}')
    return piece


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("2", [MAIN, f"{MAIN}/cross-sample"]),
        ("4", [MAIN, "sums/recipe-dapo_random_seed-1"]),
        ("5, 3,3", [MAIN, f"{MAIN}/analyze", "sums/recipe-sft_seed-1", "sums/recipe-sft_seed-1/analyze"]),
    ],
)
def test_only_what_the_questions_wait_for_is_done(text, names, study, done):
    assert findings.findings_of_study(study, 0, findings._questions(text))
    assert done == names


@pytest.mark.slow
def test_all_is_done_where_no_question_is_named(study, done):
    findings.findings_of_study(study, 0, findings._questions(None))
    assert done == [piece.name for piece in study.pieces()]


@pytest.mark.parametrize("text", ["7", "", "3,", "three", "3,9"])
def test_a_question_that_is_none_is_refused_with_those_there_are(text):
    with pytest.raises(ConfigError, match=r"questions=.*: expected .* 1 Where did the policy move\?"):
        findings._questions(text)


def test_a_question_that_the_study_does_not_ask_is_refused(study, done):
    alone = Study(replace(CFG, training=[]), study.output)
    with pytest.raises(ConfigError, match="this study asks none of them"):
        findings.findings_of_study(alone, 0, findings._questions("3"))
    assert done == []


@pytest.mark.slow
def test_a_training_without_its_policy_is_enough_once_it_has_been_analysed(study, done, monkeypatch):
    trained = finished_training(study)
    monkeypatch.setattr(findings, "write_page", lambda *_: study.output)  # which would read its samples
    with pytest.raises(ConfigError, match=rf"{MAIN} is to be analysed and has no policy"):
        findings.findings_of_study(study)
    findings.findings_of_study(study, 0)  # the page alone
    findings.findings_of_study(study, 1, [4])  # nothing of it is to be analysed
    with pytest.raises(ConfigError, match="no policy"):
        findings.findings_of_study(study, 1, [2])
    records = Records(study.output / "pieces")
    for piece in study.pieces():
        if piece.folder == trained.folder and piece.name != trained.name:
            piece.marker.parent.mkdir()
            piece.marker.touch()
            records.write(piece, Record(piece.arguments, 1.0, "2026-01-02 03:04"))
    findings.findings_of_study(study)
    assert done


def test_a_run_is_looked_for_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "summary.json").touch()
    assert findings._run_folder("~") == tmp_path.resolve()
