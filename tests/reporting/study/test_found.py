"""What of a study's folders its page is made from, beside what others or other studies have put there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rlvr.analysis.study import Record, Records, Study, StudyConfig
from rlvr.errors import DataError
from rlvr.reporting.study.found import Found
from tests.helpers.sweep_cases import make_run

CFG = StudyConfig(
    title="made up",
    tasks={"sums": [], "words": []},
    weighting=["dapo", "dapo_random"],
    seeds=[1, 2],
    training=["dapo", "sft", "kl", "rft"],
)


def found(root: Path, cfg: StudyConfig = CFG) -> Found:
    return Found(Study(cfg, root), Records(root / "pieces"))


def train(root: Path, recipe: str, seed: int, right: int = 5, **others: object) -> None:
    make_run(root / "sums", f"recipe-{recipe}", seed, {"held": right}, **others)


def test_weightings_are_compared_with_the_first_recipe_and_named_alone(tmp_path):
    for recipe, seed in (("dapo_random", 1), ("dapo", 2), ("dapo", 1), ("sft", 1), ("stranger", 1)):
        train(tmp_path, recipe, seed)
    train(tmp_path, "dapo_random", 2, finished=False)
    train(tmp_path, "kl", 1, finished=False)  # and rft has not been started: both are of another question
    own = found(tmp_path)
    result = own.weighting()
    assert result is not None
    assert result.baseline == "recipe-dapo"
    assert {name: len(runs) for name, runs in result.conditions.items()} == {
        "recipe-dapo": 2,
        "recipe-dapo_random": 1,
    }
    assert result.sweep.unfinished == ("recipe-dapo_random_seed-2",)
    assert result.sweep.not_started == ()
    later = found(tmp_path, replace(CFG, seeds=[3, 1, 2])).weighting()
    assert later is not None
    assert later.sweep.not_started == ("recipe-dapo_seed-3", "recipe-dapo_random_seed-3")
    assert [run.name for run in own.runs("sums")] == [  # in the order of the study
        "recipe-dapo_seed-1",
        "recipe-dapo_random_seed-1",
        "recipe-dapo_seed-2",
        "recipe-sft_seed-1",
    ]
    assert own.runs("words") == []


@pytest.mark.parametrize("recipes", [("dapo", "sft"), ("dapo_random", "sft"), ("dapo_random", "dapo_other")])
def test_there_is_nothing_to_compare_before_the_first_recipe_and_another(recipes, tmp_path):
    cfg = replace(CFG, weighting=["dapo", "dapo_random", "dapo_other"])
    assert found(tmp_path, cfg).weighting() is None
    for recipe in recipes:
        train(tmp_path, recipe, 1)
    assert found(tmp_path, cfg).weighting() is None
    for recipe in {"dapo", "dapo_random"} - {*recipes}:
        train(tmp_path, recipe, 1)
    assert found(tmp_path, cfg).weighting() is not None


def test_weightings_of_different_lengths_are_refused_and_other_trainings_may_be(tmp_path):
    train(tmp_path, "dapo", 1)
    train(tmp_path, "dapo_random", 1)
    train(tmp_path, "sft", 1, steps=5)
    assert found(tmp_path).weighting() is not None
    train(tmp_path, "dapo_random", 2, steps=5)
    with pytest.raises(DataError, match="dapo_random: its runs differ in steps"):
        found(tmp_path).weighting()


def test_an_analysis_is_there_once_its_record_says_so(tmp_path):
    own = found(tmp_path)
    main, analysed, crossed = own.pieces[:3]
    train(tmp_path, "dapo", 1)
    for piece in (analysed, crossed):
        piece.marker.parent.mkdir()
        piece.marker.touch()
    (main.folder / "cross_sampling" / "cross_sampling.json").touch()
    assert own.finished == {main.name}
    assert (own.analyses, own.main, own.cross) == ({}, None, None)
    own.records.write(analysed, Record(analysed.arguments))
    assert found(tmp_path).analyses == {}
    own.records.write(analysed, Record(analysed.arguments, 1.0, "2026-01-02 03:04"))
    again = found(tmp_path)
    assert again.finished == {main.name, analysed.name}
    assert list(again.analyses) == ["sums/recipe-dapo_seed-1"]
    assert again.main is again.analyses["sums/recipe-dapo_seed-1"]
    assert again.main.folder == main.folder / "analysis"
    own.records.write(crossed, Record(crossed.arguments))
    with pytest.raises(DataError, match=r"cross_sampling\.json: not JSON"):  # it is read, and is empty
        _ = found(tmp_path).cross
    (main.folder / "cross_sampling" / "cross_sampling.json").unlink()  # as before the first rule is complete
    assert found(tmp_path).cross is None
