"""The page of a study, from folders in the real formats: nothing finished, some of it, all of it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from rlvr.analysis.study import QUESTIONS, TRAIN, Piece, Record, Records, Study, StudyConfig
from rlvr.reporting.study import page as page_module
from rlvr.reporting.study.page import write_page
from tests.helpers.report_cases import write_analysis, write_cross
from tests.helpers.sweep_cases import make_run

CFG = StudyConfig(
    title="A made-up study",
    trainings=["steps=10"],
    tasks={"sums": ["data=sums"], "words": ["data=sentences"]},
    weighting=["dapo", "dapo_random"],
    seeds=[1, 2, 3],
    training=["dapo", "sft"],
    analyze=["checkpoints=[]"],
)
RIGHT = {"dapo": 5, "dapo_random": 3, "sft": 7}  # of ten problems


def finish(study: Study, records: Records, piece: Piece) -> None:
    """What the piece leaves behind, with made-up numbers."""
    if piece.kind == TRAIN:
        recipe, _, seed = piece.folder.name.removeprefix("recipe-").partition("_seed-")
        right = RIGHT[recipe] + (0 if recipe == "dapo" else int(seed) % 2)
        make_run(piece.folder.parent, f"recipe-{recipe}", int(seed), {"held": right})
    elif piece.marker.parent.name == "analysis":
        write_analysis(piece.marker.parent)
    else:
        write_cross(piece.marker.parent)  # without the file that is written last
        records.write(piece, Record(piece.arguments))
        return
    records.write(piece, Record(piece.arguments, 300.0, "2026-01-02 03:04", "2 x made up"))


@pytest.fixture
def study(tmp_path: Path) -> tuple[Study, Records]:
    study = Study(CFG, tmp_path / "study", ("model.path=/some/where/model",))
    return study, Records(study.output / "pieces")


def sections(page: Path) -> dict[int, str]:
    """The text below each question."""
    parts = re.split(r"^## (\d)\. .*$", page.read_text(), flags=re.M)
    return {int(number): text for number, text in zip(parts[1::2], parts[2::2], strict=True)}


def test_a_study_that_has_not_begun_says_what_is_missing(study):
    text = sections(write_page(*study))
    assert text.keys() == QUESTIONS.keys()
    assert "**Missing, 2 of 2 pieces:** sums/recipe-dapo_seed-1, sums/recipe-dapo_seed-1/analyze." in text[1]
    assert "**Missing, 6 of 6 pieces:**" in text[4]
    assert "and 2 more." in text[4]
    assert all("Nothing to show yet." in own for own in text.values())


def test_what_others_keep_beside_the_figures_stays(study):
    own = study[0].output / "findings"
    (own / "grpo_kl").mkdir(parents=True)
    for name in ("q1_old.svg", "old.parquet", "mine.svg", "grpo_kl/summary.json"):
        (own / name).touch()
    write_page(*study)
    assert {"mine.svg", "grpo_kl"} <= {path.name for path in own.iterdir()}
    assert (own / "grpo_kl" / "summary.json").exists()
    assert not (own / "q1_old.svg").exists()
    assert not (own / "old.parquet").exists()


@pytest.mark.slow
def test_cross_sampling_with_other_arguments_is_not_shown(study):
    whole, records = study
    for piece in whole.pieces()[:3]:
        finish(whole, records, piece)
    assert "| forward | js |" in sections(write_page(*study))[2]
    other = Study(replace(CFG, cross_sample=["samples=9"]), whole.output, whole.extra)
    assert "Nothing to show yet." in sections(write_page(other, records))[2]


def test_a_question_that_a_study_does_not_ask_is_said_to_be_none(tmp_path):
    cfg = StudyConfig(title="x", tasks={"sums": []}, weighting=["dapo"])
    text = sections(write_page(Study(cfg, tmp_path), Records(tmp_path / "pieces")))
    assert [n for n, own in text.items() if "Not part of this study." in own] == [3, 4]


@pytest.mark.slow
def test_a_page_of_what_is_finished(study):
    for piece in study[0].pieces():
        if not piece.name.startswith("words/"):
            finish(*study, piece)
    page = write_page(*study)
    text = sections(page)
    content = page.read_text()
    for number in (1, 4, 5):
        assert "Missing" not in text[number]
    # The mark that cross-sampling writes last is not there, yet its first rules are shown.
    assert "**Missing, 1 of 2 pieces:** sums/recipe-dapo_seed-1/cross-sample." in text[2]
    assert "| forward | js |" in text[2]
    assert "**Missing, 4 of 8 pieces:** words/recipe-dapo_seed-1" in text[3]
    assert "| JS > 0.1: moved |" in text[1]
    # seven and one of ten problems against five: three differ, all of them upwards
    assert re.search(r"\| sums \| sft \| 0\.100 \| 0\.800 .* \| \+0\.300 ", text[3])
    assert "| recipe-dapo_random | 3 |" in text[4]
    assert "Gini of the weights" in text[4]
    assert "by exact JS also above it on nuclei truncated" in text[5]
    assert "Classes of tokens" in text[6]
    assert "/some/where" not in content
    for file in (page.parent / "findings").glob("*.parquet"):
        assert "/some/where" not in str(pq.read_schema(file).metadata), file.name
    shown = re.findall(r"\]\((findings/[^)]+)\)", content)
    assert {Path(name).suffix for name in shown} == {".svg", ".parquet"}
    assert all((page.parent / name).is_file() for name in shown)
    assert len(shown) == len(list((page.parent / "findings").iterdir()))
    captions = {
        1: ["Where the policy moved: ", "By place in the response: "],
        2: [
            "20 problems, 3 samples of each. Accuracy: base alone ",
            "Accuracy (95 %, clustered by problem) at every ",
        ],
        4: [
            "Intervals are 95 %.",
            "Not told apart from the baseline: ",
            "Accuracy after training on held, 10 problems, 2 samples of each a run, ",
        ],
        5: [
            "Truncation: is a token above ",
            "Thresholds: share of tokens above each of them, by measure [nats].",
        ],
        6: ["Classes of tokens, by their text alone: "],
    }
    for number, expected in captions.items():
        places = [text[number].find(f"\n{caption}") for caption in expected]
        assert -1 not in places, (number, places)
        assert places == sorted(places), number
    figures = {n: {name for name in shown if name.startswith(f"findings/q{n}_")} for n in text}
    assert figures[5] == {"findings/q5_truncation.svg"}
    assert "findings/q1_sparsity.svg" in figures[1]
    # Though there are such.
    assert not {"findings/q1_truncation.svg", "findings/q1_evolution.svg"} & figures[1]
    assert figures[2] == {"findings/q2_cross_forward.svg", "findings/q2_cross_reverse.svg"}
    assert figures[4] == {"findings/q4_difference_held.svg", "findings/q4_eval_held.svg"}
    accuracy = pq.read_table(page.parent / "findings" / "accuracy.parquet").to_pylist()
    assert sum(row["right"] for row in accuracy if row["condition"] == "recipe-sft") == 16  # two samples each
    shift = pq.read_table(page.parent / "findings" / "shift_outcome.parquet")
    assert set(shift["run"].to_pylist()) == {"sums/recipe-dapo_seed-1", "sums/recipe-sft_seed-1"}


@pytest.mark.slow
def test_a_training_without_its_metrics_keeps_its_result(study):
    """They hold the accuracy before training alone."""
    whole, records = study
    trainings = [p for p in whole.pieces() if p.kind == TRAIN and p.name.endswith("_seed-1")]
    for piece in trainings:
        finish(whole, records, piece)
    (whole.folder("sums", "sft", 1) / "metrics.jsonl").unlink()
    text = sections(write_page(*study))[3]
    assert "recipe-sft_seed-1: no metrics.jsonl" in text
    assert re.search(r"\| sums \| sft \| - \| 0\.800 .* \| \+0\.300 ", text)
    assert re.search(r"\| words \| sft \| 0\.100 \| 0\.800 .* \| \+0\.300 ", text)


@pytest.mark.slow
def test_a_page_keeps_to_its_size(study, monkeypatch):
    for piece in study[0].pieces()[:2]:
        finish(*study, piece)
    write_page(*study)
    folder = study[0].output / "findings"
    sizes = {f.name: f.stat().st_size for f in (*folder.iterdir(), folder.parent / "findings.md")}
    kept = sum(size for name, size in sizes.items() if name.endswith((".svg", ".md")))
    kept += sizes["pieces.parquet"] + sizes["accuracy.parquet"]
    monkeypatch.setattr(page_module, "LIMIT", kept + page_module.RESERVE)
    page = write_page(*study)
    assert not (folder / "tokens.parquet").exists()
    assert (folder / "accuracy.parquet").exists()
    assert re.search(r"Left out, for the page is .* at most: .*tokens\.", page.read_text())
    assert sum(f.stat().st_size for f in folder.iterdir()) + page.stat().st_size <= page_module.LIMIT
