"""Planning a sweep: which jobs a command line stands for, what is refused, and what counts as finished."""

from __future__ import annotations

import functools
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from rlvr.cli.overrides.compose import check_overrides, register_schema
from rlvr.cli.overrides.multirun import job_arguments, plan_sweep, queue
from rlvr.cli.overrides.recipe_tree import recipes_folder
from rlvr.config import Config
from rlvr.errors import ConfigError
from rlvr.sweep.jobs import Task
from rlvr.sweep.plan import Job, Sweep, SweepError, how_many
from rlvr.sweep.slots import Need, Room

SWEEPS = sorted(p.stem for p in (recipes_folder() / "sweep").glob("*.yaml"))


@pytest.fixture(autouse=True)
def schema() -> None:
    register_schema()


def plan(*arguments: str) -> Sweep | None:
    """The sweep of a command line."""
    check_overrides(list(arguments))
    return plan_sweep(list(arguments), "rlvr.train")


@functools.cache
def planned(name: str) -> Sweep | None:
    """A named sweep as it is; composing the configurations of all its jobs takes seconds."""
    return plan("-m", f"+sweep={name}")


def refusal(*arguments: str) -> str:
    """What the user is told."""
    with pytest.raises(ConfigError) as caught:
        plan(*arguments)
    return str(caught.value)


@pytest.mark.slow
def test_jobs_are_named_by_what_tells_them_apart():
    sweep = plan("-m", "recipe=dapo,dapo_divweight", "seed=1,2", "steps=4", "hydra.sweep.dir=x")
    assert [job.name for job in sweep.jobs] == [
        "recipe-dapo_seed-1",
        "recipe-dapo_seed-2",
        "recipe-dapo_divweight_seed-1",
        "recipe-dapo_divweight_seed-2",
    ]
    assert sweep.jobs[2].overrides == ("recipe=dapo_divweight", "seed=1", "steps=4")


@pytest.mark.slow
def test_a_key_is_named_in_full_where_its_last_part_is_not_enough():
    (first, *_) = plan("-m", "eval.top_p=0.5,1.0", "rollout.top_p=0.9,1.0", "learner.lr=1e-5").jobs
    assert first.name == "eval.top_p-0.5_rollout.top_p-0.9"
    (first, *_) = plan("-m", "advantage=js_high", "advantage.options.alpha=-5,5").jobs
    assert first.name == "alpha--5"
    (first, *_) = plan("-m", "model.path=/a/b,/c d").jobs
    assert first.name == "path-_a_b"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "folder"),
    [
        (["seed=1,2"], "runs/sweep"),
        (["seed=1,2", "run.root=a b"], "a b/sweep"),
        (["+sweep=zoo", "recipe=dapo", "run.root=c"], "c/zoo"),
        (["+sweep=zoo", "recipe=dapo", "run.root=c", "hydra.sweep.dir=${run.root}/mine"], "c/mine"),
    ],
)
def test_the_folder_of_a_sweep_is_known_before_it_starts(arguments, folder):
    assert plan("-m", *arguments).folder == Path(folder)


def test_a_sweep_folder_that_cannot_be_written_is_said_before_a_job_starts(tmp_path):
    sweep = Sweep((Job(("a",), ()),), "m", tmp_path / "new" / "sweep")
    sweep.claim()
    sweep.claim()
    assert list(sweep.folder.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(
        SweepError, match=r"sweep folder .*/file/sweep: cannot be written \(Not a directory\)"
    ):
        Sweep((Job(("a",), ()),), "m", tmp_path / "file" / "sweep").claim()


@pytest.mark.parametrize("arguments", [[], ["seed=2"], ["--cfg", "job"], ["+sweep=zoo", "--cfg", "job"]])
def test_a_single_run_is_no_sweep(arguments):
    assert plan(*arguments) is None


@pytest.mark.slow
def test_a_job_of_a_named_sweep_is_no_sweep():
    sweep = plan("-m", "+sweep=paper_table", "recipe=dapo", "seed=1,2")
    cfg = Config(recipe="dapo")
    assert plan(*job_arguments(sweep.jobs[0], Path("runs/paper_table"), cfg)) is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-m", "recipe=dapo,dappo"], "recipe=dappo: there is no such option; use one of .*dapo_divweight"),
        (["-m", "+sweep=paper"], "sweep=paper: there is no such option; use one of .*paper_table"),
        (["-m", "seed=range(1,1)"], r"seed=range\(1,1\): names no value, so the sweep would have no job"),
        (["-m", "seed="], "seed="),
        (["-m", "steps=4"], r"nothing to sweep over; give several values"),
        (["-m", "seed=1,2,1"], "two jobs of the sweep would share the folder seed-1"),
        (["-m", "seed=1,two"], "job seed-two: .*'two'"),
        (["-m", "learner.updates_per_step=4,7"], "job updates_per_step-7: .*cannot be split"),
        (["-m", "seed=1,2", "run.name=mine"], "run.name=mine: a sweep names and resumes its jobs itself"),
        (["-m", "run.root=a,b"], "run.root=a,b: a sweep names"),
        (["-m", "+sweep=zoo", "--cfg", "job"], "--cfg job prints one configuration and -m asks for several"),
    ],
)
def test_what_cannot_work_is_refused_before_a_job_starts(arguments, said):
    assert re.search(said, refusal(*arguments), re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize("name", SWEEPS)
def test_every_named_sweep_is_valid(name):
    sweep = planned(name)
    assert len({job.name for job in sweep.jobs}) == len(sweep.jobs) >= 6
    seeds = {part for job in sweep.jobs for part in job.parts if part.startswith("seed-")}
    assert seeds == {f"seed-{i}" for i in range(1, 6 if name.startswith("experiment") else 4)}


@pytest.mark.slow
def test_a_named_sweep_can_be_narrowed_without_renaming_its_jobs():
    whole, part = planned("zoo"), plan("-m", "+sweep=zoo", "recipe=dapo_kl_cov", "seed=2")
    assert [job.name for job in part.jobs] == ["recipe-dapo_kl_cov_seed-2"]
    assert part.jobs[0].name in {job.name for job in whole.jobs}


@pytest.mark.slow
def test_recipes_of_ones_own_can_be_swept(tmp_path):
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe" / "mine.yaml").write_text("# @package _global_\nrecipe: mine\nsteps: 7\n")
    sweep = plan("--config-dir", str(tmp_path), "-m", "recipe=dapo,mine")
    assert [job.name for job in sweep.jobs] == ["recipe-dapo", "recipe-mine"]
    assert sweep.config_dir == str(tmp_path)
    assert "job recipe-other: " in refusal("--config-dir", str(tmp_path), "-m", "recipe=mine,other")


@pytest.mark.slow
def test_a_job_gets_its_folder_and_its_place_in_wandb():
    cfg = Config(recipe="dapo")
    cfg.tracking.tags = ["own"]
    job = Job(("recipe-dapo", "seed-1"), ("recipe=dapo", "seed=1", "run.root=a b", "tracking.tags=[own]"))
    assert job_arguments(job, Path("a b/sweep"), cfg) == [
        "recipe=dapo",
        "seed=1",
        "hydra.mode=RUN",
        'run.root="a b/sweep"',
        'run.name="recipe-dapo_seed-1"',
        "run.resume=auto",
        'tracking.group="sweep"',
        'tracking.tags=["own","sweep","recipe-dapo","seed-1"]',
    ]
    check_overrides(job_arguments(job, Path("a b/sweep"), cfg))


@pytest.mark.slow
def test_a_repeat_takes_up_what_is_not_finished(tmp_path, monkeypatch, capsys):
    sweep = plan("-m", "seed=1,2,3", f"hydra.sweep.dir={tmp_path}")
    cfg = Config(recipe="dapo")
    for number, seed in enumerate((1, 2, 3)):
        hydra_at = SimpleNamespace(job=SimpleNamespace(num=number))
        monkeypatch.setattr(HydraConfig, "get", lambda hydra_at=hydra_at: hydra_at)
        now = replace(cfg, seed=seed, cluster=replace(cfg.cluster, jobs=None if seed == 1 else 5 - seed))
        if seed < 3:  # finished before, the second with another configuration
            folder = tmp_path / f"seed-{seed}"
            folder.mkdir()
            (folder / "summary.json").write_text("{}")
            saved = OmegaConf.to_yaml(OmegaConf.structured(replace(now, steps=60 * seed)))
            (folder / "config.yaml").write_text(saved)
        queue(sweep, now)
    assert sweep.skipped == ["seed-1"]
    assert "seed-1: finished before" in capsys.readouterr().out
    assert sweep.failed == {
        "seed-2": "its folder holds a finished run of another configuration (steps was 120, is 60); set "
        "hydra.sweep.dir to another folder"
    }
    assert [(task.name, task.folder) for task in sweep.waiting] == [("seed-3", tmp_path / "seed-3")]
    assert sweep.side_by_side == 2


@pytest.mark.slow
def test_a_finished_run_whose_configuration_is_lost_is_named(tmp_path, monkeypatch):
    sweep = plan("-m", "seed=1,2", f"hydra.sweep.dir={tmp_path}")
    (tmp_path / "seed-1").mkdir()
    (tmp_path / "seed-1" / "summary.json").write_text("{}")
    hydra_at = SimpleNamespace(job=SimpleNamespace(num=0))
    monkeypatch.setattr(HydraConfig, "get", lambda: hydra_at)
    queue(sweep, Config(recipe="dapo"))
    assert "its config.yaml cannot be read" in sweep.failed["seed-1"]


def test_the_report_names_what_failed():
    jobs = tuple(Job((name,), ()) for name in ("a", "b", "c"))
    Sweep(jobs, "m", Path("x"), done=["a", "b"], skipped=["c"]).finish()
    with pytest.raises(
        SweepError, match=r"1 of 3 jobs failed \(1 run, 1 finished before\)(.|\n)*b: exit code 1"
    ):
        Sweep(jobs, "m", Path("x"), done=["a"], skipped=["c"], failed={"b": "exit code 1"}).finish()


JOB_MODULE = """
import json, sys
from pathlib import Path
if sys.argv[2] == "fails":
    sys.exit("OddError: out of luck")
if sys.argv[2] == "breaks":
    Path(sys.argv[1], "summary.json").write_text('{"steps": 3')
if sys.argv[2] == "finishes":
    row = dict(recipe="dapo", model="m", data="d", seed=1, steps=3, eval_accuracy_before=0.25, eval_accuracy_after=0.5)
    row |= dict(eval_accuracy_ci95=[0.4, 0.6], eval_sets={}, train_seconds=12.3, setup_seconds=4.5)
    row |= dict(tokens_generated=6, max_logprob_mismatch=0.0, resumed_from=None, versions={}, folder="f")
    Path(sys.argv[1], "summary.json").write_text(json.dumps(row))
"""


@pytest.mark.slow
def test_the_end_of_every_job_is_said(tmp_path, monkeypatch, capsys):
    (tmp_path / "job_module.py").write_text(JOB_MODULE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    names = ("finishes", "fails", "says_nothing", "breaks")
    sweep = Sweep(tuple(Job((name,), ()) for name in names), "job_module", tmp_path)
    for name in names:
        folder = tmp_path / name
        sweep.waiting.append(Task(name, "job_module", (str(folder), name), Need(0, 1), folder))
    with pytest.raises(SweepError, match="3 of 4 jobs failed") as caught:
        sweep.finish()
    said = capsys.readouterr().out
    assert f"sweep {tmp_path}: 4 jobs to run, 4 side by side\n" in said
    assert f"job 2 of 4, fails: starts; output in {tmp_path}/fails/console.log" in said
    assert "job finishes: done, accuracy 0.250 -> 0.500 in 12 s of training; " in said
    assert f"fails: exit code 1: OddError: out of luck\n    output in {tmp_path}/fails/console.log" in str(
        caught.value
    )
    for name, why in (("says_nothing", "FileNotFoundError"), ("breaks", "JSONDecodeError")):
        left = f"{name}: exit code 0, but {tmp_path / name / 'summary.json'}: not the summary of a run of this version"
        assert f"{left} ({why}" in str(caught.value)


@pytest.mark.parametrize(
    ("needs", "room", "said"),
    [
        ([Need(1, 1)], Room(2, 100), "1 job to run"),
        ([Need(1, 1)] * 2, Room(2, 100), "2 jobs to run, 2 side by side"),
        (
            [Need(1, 1)] * 3,
            Room(4, 100, jobs=2),
            "3 jobs to run, 2 side by side; the limit is cluster.jobs=2",
        ),
        (
            [Need(1, 1, alone="cluster.cpus=null")] * 3,
            Room(4, 100),
            "3 jobs to run, one at a time; the limit is cluster.cpus=null",
        ),
    ],
)
def test_the_sweep_says_how_many_run_together(needs, room, said):
    assert how_many(needs, room) == said
