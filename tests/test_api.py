"""rlvr from Python: configurations, runs and analyses without a command, and nothing left behind in the process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra

import rlvr
from rlvr.api import SIGNALS
from rlvr.config import Config
from rlvr.errors import ConfigError, DataError
from rlvr.runtime.disk.folder import RunFolder
from rlvr.runtime.disk.summary import ChangedSetting
from tests.helpers.processes import SMALL, rows
from tests.helpers.records import group
from tests.helpers.report_cases import TRAJECTORIES, write_analysis, write_training


def state_of_process():
    """What a library must not change for its user."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    hydra = (GlobalHydra.instance().is_initialized(), dict(ConfigStore.instance().repo))
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    return environment, Path.cwd(), handlers, hydra, list(sys.argv)


@pytest.fixture
def unchanged_process():
    before = state_of_process()
    yield
    assert state_of_process() == before


# ---- configurations


@pytest.mark.slow
@pytest.mark.usefixtures("unchanged_process")
def test_a_recipe_is_loaded_as_the_command_composes_it():
    config = rlvr.load_recipe("dapo_divweight", ["steps=7", "learner=cpu_2ranks", "run.name=a b (1)"])
    assert isinstance(config, Config)
    assert (config.recipe, config.steps, config.learner.workers) == ("dapo_divweight", 7, 2)
    assert config.run.name == "a b (1)"
    assert config.advantage.token != "uniform"


@pytest.mark.usefixtures("unchanged_process")
@pytest.mark.parametrize(
    ("name", "overrides", "words"),
    [
        ("grpoo", [], r"recipe=grpoo: there is no such option; use one of"),
        ("grpo", ["stepz=3"], r"stepz: there is no such key; did you mean steps"),
        ("grpo", ["steps=many"], r"steps"),
        ("grpo", ["model=local"], r"model\.path: model=local leaves it to you"),
        ("grpo", ["seed=1,2"], r"seed"),
        ("grpo", ["-m", "seed=1,2"], r"^-m: an option of the command line"),
        ("grpo", ["learner.lr=1e-5,1e-6"], r"^learner.lr=1e-5,1e-6: several values name several runs"),
        ("grpo", ["+sweep=zoo"], r"^sweep= names several runs"),
    ],
)
def test_what_cannot_be_loaded_is_an_error_and_no_exit(name, overrides, words):
    with pytest.raises(ConfigError, match=words):
        rlvr.load_recipe(name, overrides)


@pytest.mark.slow
@pytest.mark.usefixtures("unchanged_process")
def test_a_configuration_that_cannot_work_is_refused_before_anything_starts(tmp_path):
    config = rlvr.load_recipe("grpo", [f"run.root={tmp_path}"])
    config.loss.objective = "nll"
    with pytest.raises(ConfigError, match=r"loss\.objective=nll with rollout\.answers=None"):
        rlvr.train(config)
    config.steps = "many"
    with pytest.raises(ConfigError, match="many"):
        rlvr.train(config)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("unchanged_process")
def test_an_analysis_is_refused_in_the_words_of_the_command(tmp_path):
    with pytest.raises(ConfigError, match="base= is missing"):
        rlvr.analyze(policy="builtin", output=tmp_path)
    with pytest.raises(ConfigError, match=r"scor\.top_p: there is no such key"):
        rlvr.analyze(base="builtin", policy="builtin", output=tmp_path, overrides=["scor.top_p=1"])


# ---- runs


def test_a_run_is_loaded_from_its_folder(tmp_path):
    folder = write_training(tmp_path, "mine")
    run = rlvr.load_run(folder)
    assert run.config.recipe == "made_up"
    assert (run.summary.steps, run.summary.eval_accuracy_ci95) == (6, (0.5, 0.7))
    assert run.policy is None
    train = run.metrics("train")
    assert isinstance(train, pa.Table)
    assert train["step"].to_pylist() == [1, 2, 3, 4, 5, 6]
    assert train["js_base/mean"].null_count == 0
    whole = run.metrics()
    assert whole.num_rows == 6 + 3
    assert whole["eval/held/accuracy"].null_count == 6
    assert run.metrics("eval")["step"].to_pylist() == [0, 3, 6]


def test_samples_say_which_dump_they_are_of(tmp_path):
    folder = RunFolder(tmp_path, write_training(tmp_path, "mine").name)
    folder.dump_samples("step_000001", [group("p", [1.0, 0.0]), group("q", [float("nan"), 1.0])])
    folder.dump_samples("eval_000000", [group("r", [0.0, 0.0])])
    run = rlvr.load_run(folder.path)
    samples = run.samples()
    assert samples["dump"].to_pylist() == ["eval_000000"] * 2 + ["step_000001"] * 4
    assert run.samples("step_000001")["reward"].to_pylist() == [1.0, 0.0, None, 1.0]
    assert run.samples("eval_*")["problem_id"].to_pylist() == ["r", "r"]
    with pytest.raises(DataError, match="no dump 'step_000002'"):
        run.samples("step_000002")
    dump = folder.samples / "step_000001.jsonl"
    dump.write_text(dump.read_text()[:-9])
    with pytest.raises(DataError, match=r"step_000001\.jsonl, line 4: not JSON"):
        run.samples()
    dump.write_text("[1]\n")
    with pytest.raises(DataError, match=r"step_000001\.jsonl, line 1: a JSON list; expected an object"):
        run.samples()


@pytest.mark.slow
def test_an_unfinished_run_has_no_summary_and_a_damaged_one_is_named(tmp_path):
    folder = write_training(tmp_path, "mine")
    (folder / "summary.json").unlink()
    assert rlvr.load_run(folder).summary is None
    (folder / "summary.json").write_text('{"recipe": "x"}')
    with pytest.raises(DataError, match=r"summary\.json: not the summary of a run"):
        rlvr.load_run(folder)
    with pytest.raises(ConfigError, match="not the folder of a training run"):
        rlvr.load_run(tmp_path)


@pytest.mark.slow
def test_changed_settings_are_records_again(tmp_path):
    from dataclasses import replace

    folder = write_training(tmp_path, "mine")
    change = ChangedSetting(3, "learner.lr", 1e-4, 5e-5)
    RunFolder(tmp_path, "mine").write_summary(replace(rlvr.load_run(folder).summary, changes=(change,)))
    assert rlvr.load_run(folder).summary.changes == (change,)


@pytest.mark.slow
def test_the_token_table_of_a_run_and_the_tables_of_its_analysis(tmp_path):
    folder = write_training(tmp_path, "mine")
    with pytest.raises(DataError, match=r"no finished analysis; rlvr\.analyze\(run="):
        rlvr.load_run(folder).token_table()
    write_analysis(folder / "analysis")
    run = rlvr.load_run(folder)
    tokens = run.token_table()
    assert tokens.num_rows > 0
    assert {"js", "checkpoint", "trajectory"} <= set(tokens.column_names)
    found = run.analysis()
    assert {entry["trajectory"] for entry in found.headline} == set(TRAJECTORIES)
    assert pa.types.is_floating(found.table("sparsity").schema.field("share").type)
    with pytest.raises(DataError, match=r"no table 'sparse'; there are .*sparsity"):
        found.table("sparse")


# ---- runs from Python


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.usefixtures("unchanged_process")
def test_two_runs_in_one_process(tmp_path):
    """The second starts Ray, engines and learner anew, and ends with the same numbers."""
    patient = ["learner.start_deadline_seconds=900", "rollout.start_deadline_seconds=900", "cluster.cpus=1"]
    results = []
    for name in ("first", "second"):
        own = [f"run.root={tmp_path}", f"run.name={name}", "steps=2"]
        config = rlvr.load_recipe("grpo", [*SMALL, *patient, *own])
        results.append(rlvr.train(config))
    first, second = results
    assert first.summary.steps == 2
    assert first.run.folder == tmp_path / "first"
    assert first.run.policy is not None
    assert rows(first.run.folder) == rows(second.run.folder)
    assert first.run.samples("step_*").drop_columns("dump") == second.run.samples("step_*").drop_columns(
        "dump"
    )


# ---- threads


@pytest.mark.parametrize(
    ("given", "spin"),
    [
        ({}, "20000"),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"OMP_WAIT_POLICY": "active"}, None),
    ],
)
def test_threads_spin_shortly_where_nobody_has_chosen(given, spin):
    names = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    environment = {name: value for name, value in os.environ.items() if name not in names} | given
    script = "import os, rlvr; print(os.environ.get('GOMP_SPINCOUNT'))"
    told = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert told.stdout.strip() == str(spin), told.stderr
