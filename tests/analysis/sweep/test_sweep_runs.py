"""Reading a sweep's folder: damaged and missing files, unlike runs, jobs that did not finish."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from rlvr.analysis.sweep.compare import compare_conditions
from rlvr.analysis.sweep.runs import flatten, read_sweep
from rlvr.analysis.sweep.setup import check_comparable, setup_of
from rlvr.analysis.sweep.tables import sweep_result
from rlvr.analysis.sweep.text import markdown
from rlvr.cli.overrides.planned import planned_jobs
from rlvr.data.models.identity import identity
from rlvr.errors import DataError
from tests.helpers.sweep_cases import make_run, make_sweep


def test_bad_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such folder"):
        read_sweep(tmp_path / "nowhere")
    with pytest.raises(DataError, match="holds no finished run"):
        read_sweep(tmp_path)
    job = make_run(tmp_path, "recipe-dapo", 1, {"amc": 3}, finished=False)
    with pytest.raises(DataError, match=r"holds no finished run .*1 started"):
        read_sweep(tmp_path)
    with pytest.raises(DataError, match=r"is a single run.*rlvr\.report"):
        read_sweep(job)


@pytest.mark.parametrize(
    ("file", "text", "what"),
    [
        ("summary.json", "{}", "summary.json: not the summary of a run.*KeyError"),
        ("summary.json", "{", "summary.json: not the summary of a run.*JSONDecodeError"),
        ("config.yaml", "a: [", ": its results cannot be read.*ParserError"),
    ],
)
def test_a_run_without_a_result_is_an_error_that_names_it(
    tmp_path: Path, file: str, text: str, what: str
) -> None:
    job = make_run(tmp_path, "recipe-dapo", 1, {"amc": 3})
    (job / file).write_text(text)
    with pytest.raises(DataError, match=f"recipe-dapo_seed-1.?{what}"):
        read_sweep(tmp_path)


def test_damaged_metrics_are_a_note_and_the_rest_is_kept(tmp_path: Path) -> None:
    job = make_run(tmp_path, "recipe-dapo", 1, {"amc": 3})
    lines = (job / "metrics.jsonl").read_text().splitlines()
    lines[3] = lines[3][:30]  # step 3
    lines[4] = lines[4].replace('"accuracy": 0.141', '"accuracy": NaN')
    lines[5] = lines[5].replace('"accuracy": 0.151', '"accuracy": "0.151"')
    lines.append('"text"')
    (job / "metrics.jsonl").write_text("\n".join(lines))
    found = read_sweep(tmp_path)
    assert sorted(found.runs[0].train) == [1, 2, 4, 6, 7, 8, 9, 10]
    assert "accuracy" not in found.runs[0].train[4]
    assert found.runs[0].train[4]["length/mean"] == 21.0
    assert found.notes == (
        "recipe-dapo_seed-1: metrics.jsonl, line 4, 6, 14 cannot be read and is left out.",
        "recipe-dapo_seed-1: values that are not finite are left out of accuracy.",
        "recipe-dapo_seed-1: metrics.jsonl has no row of training step 3, 5.",
    )


def test_a_run_without_metrics_still_counts_for_the_result(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        job = make_run(tmp_path, "recipe-dapo", seed, {"amc": 3})
    (job / "metrics.jsonl").unlink()
    found = sweep_result(read_sweep(tmp_path), "recipe-dapo")
    assert found.rows[0].seeds.seeds == 3
    assert [p.seeds for p in found.curve("recipe-dapo", "accuracy").values()] == [2] * 10
    assert "recipe-dapo_seed-3: no metrics.jsonl" in markdown(found)


@pytest.mark.parametrize("damage", ["cut", "short"])
def test_damaged_samples_take_only_the_interval_over_problems(tmp_path: Path, damage: str) -> None:
    job = make_run(tmp_path, "recipe-dapo", 1, {"amc": 3})
    file = job / "samples" / "eval_000010.jsonl"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[:5], lines[5][:20]] if damage == "cut" else lines[:12]))
    found = read_sweep(tmp_path)
    (row,) = compare_conditions(found.runs, "recipe-dapo")
    assert (row.seeds.mean, row.problems) == (0.3, None)
    said = "line 6 cannot be read" if damage == "cut" else "the 12 samples of amc"
    assert said in found.notes[0]


def test_sets_of_one_source_are_told_apart(tmp_path: Path) -> None:
    """By the ids of the samples, also where the name of one set begins with another's."""
    make_run(tmp_path, "recipe-dapo", 1, {"amc": 2, "amc/hard": 9})
    correct = read_sweep(tmp_path).runs[0].correct
    assert {name: sum(all(row) for row in rows.values()) for name, rows in correct.items()} == {
        "amc": 2,
        "amc/hard": 9,
    }


def test_jobs_that_never_started_are_named(tmp_path: Path) -> None:
    make_run(tmp_path, "recipe-dapo", 1, {"amc": 3})
    make_run(tmp_path, "recipe-dapo_high", 1, {"amc": 3}, finished=False)
    plan = tmp_path / "multirun.yaml"
    plan.write_text(
        "hydra:\n  sweeper:\n    params:\n      recipe: dapo_high,dapo\n  overrides:\n    task:\n"
        "    - seed=1,2\n    - +sweep=mine\n"
    )
    found = read_sweep(tmp_path, planned_jobs(tmp_path))
    assert found.unfinished == ("recipe-dapo_high_seed-1",)
    assert found.not_started == ("recipe-dapo_high_seed-2", "recipe-dapo_seed-2")
    said = sweep_result(found, "recipe-dapo").notes
    assert said[0] == "Left out, not finished: recipe-dapo_high (seed 1)."
    assert said[1] == "Left out, not started: recipe-dapo_high (seed 2), recipe-dapo (seed 2)."
    plan.write_text("hydra: 3\n")
    assert "multirun.yaml cannot be read" in read_sweep(tmp_path, planned_jobs(tmp_path)).notes[0]


def test_jobs_submitted_to_slurm_that_never_started_are_named(tmp_path: Path) -> None:
    make_run(tmp_path, "recipe-dapo", 1, {"amc": 3})
    older = tmp_path / "slurm_jobs-20260101-000000-1.jsonl"
    older.write_text('{"run_folder": "/x/recipe-other_seed-1", "arguments": []}\n')
    os.utime(older, (1, 1))
    newer = tmp_path / "slurm_jobs-20260102-000000-1.jsonl"
    names = ("recipe-dapo_seed-1", "recipe-dapo_seed-2")
    newer.write_text("".join(f'{{"run_folder": "/x/{name}", "arguments": []}}\n' for name in names))
    assert read_sweep(tmp_path, planned_jobs(tmp_path)).not_started == ("recipe-dapo_seed-2",)
    newer.write_text("{}\n")
    assert f"{newer.name} cannot be read" in read_sweep(tmp_path, planned_jobs(tmp_path)).notes[0]


@pytest.mark.slow
def test_conditions_stand_in_the_order_of_the_sweep(tmp_path: Path) -> None:
    for condition in ("recipe-a_b", "recipe-a"):
        for seed in (2, 10):
            make_run(tmp_path, condition, seed, {"amc": 3})
    names = [(run.condition, run.summary.seed) for run in read_sweep(tmp_path, planned_jobs(tmp_path)).runs]
    assert names == [("recipe-a", 2), ("recipe-a", 10), ("recipe-a_b", 2), ("recipe-a_b", 10)]
    (tmp_path / "multirun.yaml").write_text(
        "hydra:\n  sweeper:\n    params: null\n  overrides:\n    task: ['recipe=a_b,a', 'seed=10,2']\n"
    )
    conditions = [run.condition for run in read_sweep(tmp_path, planned_jobs(tmp_path)).runs]
    assert list(dict.fromkeys(conditions)) == ["recipe-a_b", "recipe-a"]


def test_the_same_condition_and_seed_twice_is_refused(tmp_path: Path) -> None:
    first = make_run(tmp_path, "recipe-dapo", 1, {"amc": 3})
    first.rename(tmp_path / "seed-1_recipe-dapo")
    make_run(tmp_path, "recipe-dapo", 1, {"amc": 4})
    with pytest.raises(DataError, match="recipe-dapo_seed-1 and seed-1_recipe-dapo are the same condition"):
        read_sweep(tmp_path, planned_jobs(tmp_path))


@pytest.mark.slow
def test_different_numbers_of_steps_are_refused_unless_swept(tmp_path: Path) -> None:
    make_run(tmp_path, "recipe-dapo", 1, {"amc": 3})
    make_run(tmp_path, "recipe-x", 1, {"amc": 3}, steps=5)
    with pytest.raises(DataError, match="steps: 5 in recipe-x_seed-1; 10 in recipe-dapo_seed-1"):
        check_comparable(read_sweep(tmp_path, planned_jobs(tmp_path)).runs)
    swept = tmp_path / "swept"
    for steps in (5, 10):
        make_run(swept, f"steps-{steps}", 1, {"amc": 3}, steps=steps)
    found = read_sweep(swept)
    check_comparable(found.runs)
    assert setup_of(found.runs).different["steps"] == {"steps-5": "5", "steps-10": "10"}


def test_unlike_runs_of_one_condition_are_refused(tmp_path: Path) -> None:
    make_run(tmp_path, "recipe-dapo", 1, {"amc": 3})
    make_run(tmp_path, "recipe-dapo", 2, {"amc": 3}, settings=("learner.lr=0.5",))
    with pytest.raises(
        DataError, match=r"recipe-dapo: its runs differ in learner\.lr: .*0\.5 in recipe-dapo_seed-2"
    ):
        check_comparable(read_sweep(tmp_path, planned_jobs(tmp_path)).runs)


def test_runs_on_one_model_at_two_places_are_alike(tmp_path: Path) -> None:
    places = [tmp_path / "models" / name for name in "ab"]
    for seed, place in enumerate(places, start=1):
        place.mkdir(parents=True)
        (place / "config.json").write_text("{}")
        (place / "model.safetensors").write_text("1234")
        run = make_run(tmp_path, "recipe-dapo", seed, {"amc": 3}, settings=(f"model.path={place}",))
    check_comparable(read_sweep(tmp_path).runs)
    shutil.rmtree(places[1])  # nobody knows any more what it was
    with pytest.raises(DataError, match=r"its runs differ in model\.path"):
        check_comparable(read_sweep(tmp_path).runs)
    summary = json.loads((run / "summary.json").read_text())
    models = {"model.path": identity(str(places[0]))}
    (run / "summary.json").write_text(json.dumps(summary | {"models": models}))
    check_comparable(read_sweep(tmp_path).runs)


def test_a_run_from_before_a_key_existed_had_its_default(tmp_path: Path) -> None:
    """Keys of evaluation sets, too."""
    evaluated = ("data.eval=[{name: aime24}]",)
    old = make_run(tmp_path, "recipe-dapo", 1, {"aime24": 4}, settings=evaluated)
    make_run(tmp_path, "recipe-dapo", 2, {"aime24": 5}, settings=evaluated)
    settings = OmegaConf.to_container(OmegaConf.load(old / "config.yaml"))
    del settings["learner"]["checkpoint_every"]
    settings["data"]["eval"] = [{"name": "aime24"}]
    (old / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(settings)))
    check_comparable(read_sweep(tmp_path, planned_jobs(tmp_path)).runs)


@pytest.mark.slow
def test_the_set_up_says_what_is_shared_and_what_differs(tmp_path: Path) -> None:
    for seed in (1, 2):
        make_run(tmp_path, "recipe-a", seed, {"amc": 3}, settings=(f"cluster.cpus={seed}",))
        make_run(tmp_path, "recipe-b", seed, {"amc": 3}, settings=("advantage.options.alpha=-2.0",))
    job = make_run(tmp_path, "recipe-b", 3, {"aime24": 3}, settings=("advantage.options.alpha=-2.0",))
    summary = json.loads((job / "summary.json").read_text())
    summary["versions"]["torch"] = "9"
    (job / "summary.json").write_text(json.dumps(summary))
    runs = read_sweep(tmp_path, planned_jobs(tmp_path)).runs
    check_comparable(runs)
    setup = setup_of(runs)
    assert setup.different["advantage.options.alpha"] == {"recipe-a": "-", "recipe-b": "-2.0"}
    assert setup.different["cluster.cpus"]["recipe-a"] == "1 / 2"
    assert setup.shared["steps"] == "10"
    assert not {"seed", "run.name"} & (setup.shared.keys() | setup.different.keys())
    assert setup.sizes == {"amc": ("10", "2"), "aime24": ("10", "2")}
    assert [names for _, names in setup.versions][1] == ("recipe-b_seed-3",)
    said = " ".join(setup.notes)
    assert "recipe-a: the seeds differ in cluster.cpus" in said
    assert "recipe-a: not evaluated on aime24." in said
    assert "same versions" in said


def test_flatten() -> None:
    assert flatten({"a": {"b": 1, "c": {}}, "d": [1, {"e": 2}]}) == {"a.b": 1, "d": [1, {"e": 2}]}


@pytest.mark.slow
def test_a_whole_sweep_has_no_notes(tmp_path: Path) -> None:
    assert sweep_result(read_sweep(make_sweep(tmp_path)), "recipe-dapo").notes == ()
