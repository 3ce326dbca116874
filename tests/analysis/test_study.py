"""What a study is made of: its file, and the pieces in their order."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlvr.analysis.study import ANALYZE, CROSS, TRAIN, Study, StudyConfig, read_study
from rlvr.cli.overrides.compose import load
from rlvr.cli.overrides.recipe_tree import STUDIES, recipes_folder
from rlvr.errors import ConfigError
from rlvr.validate import validate

SHIPPED = sorted((recipes_folder() / STUDIES).glob("*.yaml"))
CFG = StudyConfig(
    title="made up",
    trainings=["steps=2"],
    tasks={"sums": ["data=sums"], "words": ["data=sentences"]},
    recipes={"sft": ["rollout.samples_per_prompt=1"]},
    weighting=["dapo", "dapo_random"],
    seeds=[3, 4],
    training=["dapo", "sft"],
)


def study(extra: tuple[str, ...] = ()) -> Study:
    return Study(CFG, Path("/out"), extra)


def test_the_main_run_comes_first_then_seeds_then_tasks():
    assert [piece.name for piece in study().pieces()] == [
        "sums/recipe-dapo_seed-3",
        "sums/recipe-dapo_seed-3/analyze",
        "sums/recipe-dapo_seed-3/cross-sample",
        "sums/recipe-dapo_random_seed-3",
        "sums/recipe-dapo_seed-4",
        "sums/recipe-dapo_random_seed-4",
        "sums/recipe-sft_seed-3",
        "sums/recipe-sft_seed-3/analyze",
        "words/recipe-dapo_seed-3",
        "words/recipe-dapo_seed-3/analyze",
        "words/recipe-sft_seed-3",
        "words/recipe-sft_seed-3/analyze",
    ]


def test_every_question_knows_its_pieces():
    of = {n: [p for p in study().pieces() if n in p.questions] for n in range(1, 7)}
    assert [(p.kind, p.folder.name) for p in of[1]] == [(k, "recipe-dapo_seed-3") for k in (TRAIN, ANALYZE)]
    assert [p.kind for p in of[2]] == [TRAIN, CROSS]
    assert [p.kind for p in of[3]] == [TRAIN, ANALYZE] * 4
    assert [p.kind for p in of[4]] == [TRAIN] * 4
    assert of[5] == of[1]
    assert of[6] == [*study().pieces()[:3]]


def test_a_training_gets_its_arguments_from_the_general_to_its_own():
    by_name = {piece.name: piece for piece in study(("steps=7",)).pieces()}
    assert by_name["words/recipe-sft_seed-3"].arguments == (
        "recipe=sft", "steps=2", "data=sentences", "rollout.samples_per_prompt=1", "steps=7", "seed=3",
        "run.root=/out/words", "run.name=recipe-sft_seed-3", "run.resume=auto", "run.export=true",
    )  # fmt: skip
    # Nobody analyses it, so that its policy need not stay.
    assert by_name["sums/recipe-dapo_seed-4"].arguments[-1] == "run.export=false"


@pytest.mark.slow
@pytest.mark.parametrize("file", SHIPPED, ids=lambda p: p.stem)
def test_every_training_of_a_shipped_study_can_be_started(file, tmp_path):
    cfg = read_study(file)
    seen = set()
    for piece in Study(cfg, tmp_path, ("model.path=builtin_two_tasks",)).pieces():
        without_seed = piece.name.partition("_seed-")[0]
        if piece.kind == TRAIN and without_seed not in seen:
            seen.add(without_seed)
            validate(load(piece.arguments))
    assert len(seen) == len({*cfg.weighting, *cfg.training}) + len(cfg.training) * (len(cfg.tasks) - 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("title: x\ntaskss: {}\n", "taskss"),
        ("title: x\n", "tasks, weighting is empty"),
        ("- 1\n", "cannot be read as a study"),
        (
            "title: x\ntasks: {a: []}\nweighting: [dapo]\nrecipes: {sft: []}\n",
            "sft is in neither weighting nor",
        ),
        ("title: x\ntasks: {a: [], findings: []}\nweighting: [dapo]\n", "tasks: findings cannot be the name"),
        ("title: x\ntasks: {a/b: []}\nweighting: [dapo]\n", "tasks: a/b cannot be the name"),
    ],
)
def test_a_file_that_is_no_study_is_refused(text, said, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=said):
        read_study(file)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read as a study"):
        read_study(tmp_path / "none.yaml")
