"""The SLURM launcher without SLURM: options, the batch script, Ray's start and the pause."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from launch import slurm
from launch.config import SlurmConfig, limit_seconds, load_config
from launch.job import parse
from launch.network import address_towards, choose_port, interface_address, interface_of, wait_for_port
from launch.process import JobError
from launch.script import Work, render
from rlvr.data.models.tokenizer import model_folder
from rlvr.errors import ConfigError, DeadlineError
from rlvr.runtime.pause import listen_for_pause

WORK = Work(
    name="rlvr-dapo",
    folder=Path("/shared/my project"),
    python="/shared/env/bin/python",
    arguments=("recipe=dapo", "data.eval=[{name: a, limit: 8}]", "run.name=dapo-$SLURM_JOB_ID"),
    run_folder="/shared/runs/dapo-$SLURM_JOB_ID",
)


def plan(*arguments: str) -> tuple[SlurmConfig, Work]:
    request = slurm.parse(arguments)
    return request.config, slurm.plan(request)


def refusal(*arguments: str) -> str:
    with pytest.raises(ConfigError) as caught:
        plan("--dry-run", *arguments)
    return str(caught.value)


def test_options_come_from_defaults_then_the_site_then_the_command_line(tmp_path):
    site = tmp_path / "site.yaml"
    site.write_text("partition: gpu\ntime: 12:00:00\ngpus_per_node: 8\nsetup: [module load cuda]\nmemory:\n")
    config = load_config(site, ["slurm.nodes=4", "slurm.partition=long", "slurm.options=[--reservation=x]"])
    assert (config.partition, config.nodes, config.gpus_per_node) == ("long", 4, 8)
    assert config.time == "12:00:00"  # YAML by itself makes 43200 of it
    assert config.setup == ["module load cuda"]
    assert config.options == ["--reservation=x"]
    assert config.memory is None
    assert config.warn_seconds == SlurmConfig().warn_seconds


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["slurm.nods=2"], r"slurm.nods=2: there is no slurm.nods; did you mean slurm.nodes\?"),
        (["slurm.nodes=two"], "slurm.nodes=two: "),
        (["slurm.nodes=0"], "slurm.nodes=0: must be at least 1"),
        (["slurm.nodes"], "slurm.nodes: write options as slurm.key=value"),
        (["slurm.ray_port=70000"], "slurm.ray_port=70000: must be at most 65535"),
        (["slurm.time=3"], "slurm.warn_seconds=300: the limit of 180 s .* leaves no time before the warning"),
        (["slurm.gpus_per_node=8", "recipe=dapo"], "slurm.gpus_per_node=8: the run uses no GPU"),
        (["slurm.gpus_per_node=8", "recipe=dapo_divweight_7b_2nodes"], "= 8 GPUs, but the run asks for 16"),
        (
            ["cluster.address=10.0.0.1:6379"],
            "cluster.address=10.0.0.1:6379: a job on SLURM starts a Ray of its own",
        ),
        (["--config-dir", "tests", "learner.lrr=3"], "learner.lrr"),
        (["slurm.time=tomorrow"], "slurm.time=tomorrow: write it as SLURM does"),
        (["slurm.options=[reservation=x]"], "slurm.options: 'reservation=x' is no option of sbatch"),
        (["--site", "nowhere.yaml"], "--site nowhere.yaml: cannot be read"),
        (["recipe=dapoo"], "recipe=dapoo: there is no such option; use one of"),
        (["advantage.token=nothing"], "advantage.token=nothing: unknown; use one of"),
        (["-m", "recipe=dapo,dapoo", "seed=1"], "dapoo: there is no such option"),
        (["-m", "seed="], "seed="),
        (["-m", "seed=range(1,1)"], "names no value, so the sweep would have no job"),
        (["learner.updates_per_step=7"], "cannot be split into equal updates"),
        (
            ["slurm.nodes=2", "recipe=dapo_divweight_7b_2nodes"],
            "slurm.nodes=2 x slurm.gpus_per_node=0 = 0 GPUs, but the run asks for 16",
        ),
        (
            ["slurm.nodes=2", "slurm.cpus_per_node=1", "rollout.engines=2"],
            "2 cores, but the run has 3 actors",
        ),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_submitted(arguments, said):
    assert re.search(said, refusal(*arguments))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 5400),
        ("2:30", 150),
        ("12:00:00", 43200),
        ("1-12", 129600),
        ("1-0:30", 88200),
        ("2-00:00:05", 172805),
    ],
)
def test_a_limit_is_read_as_slurm_does(text, seconds):
    assert limit_seconds(text) == seconds


def test_one_line_of_set_up_needs_no_brackets():
    assert load_config(None, ["slurm.setup=module load cuda"]).setup == ["module load cuda"]


@pytest.mark.slow
def test_one_node_needs_no_ray_to_join():
    _, work = plan("slurm.gpus_per_node=16", "recipe=dapo_divweight_7b_2nodes")
    assert "cluster.address=local" in work.arguments


def test_a_batch_script_says_what_it_asks_for():
    config = SlurmConfig(
        nodes=2, gpus_per_node=8, cpus_per_node=16, memory="200G", time="12:00:00", partition="gpu",
        options=["--reservation=x"], setup=["module load cuda"], logs="/shared/logs", warn_seconds=120,
    )  # fmt: skip
    script = render(config, WORK)
    directives = [line.removeprefix("#SBATCH ") for line in script.splitlines() if line.startswith("#SBATCH")]
    assert directives == [
        "--job-name=rlvr-dapo", "--chdir=/shared/my project", "--output=/shared/logs/%x-%j.log",
        "--open-mode=append", "--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=16", "--gpus-per-node=8",
        "--mem=200G", "--partition=gpu", "--time=12:00:00", "--reservation=x", "--signal=B:USR1@120", "--requeue",
    ]  # fmt: skip
    # sbatch stops reading its options at the first command
    commands = [line for line in script.splitlines() if line and not line.startswith("#")]
    assert script.index(commands[0]) > script.index("--requeue")
    assert commands[:2] == ["set -e", "module load cuda"]
    assert "--exclusive" not in script
    assert "#SBATCH --exclusive\n" in render(SlurmConfig(), WORK)


def test_the_shell_hands_every_argument_to_the_supervisor_as_it_was(tmp_path):
    show = tmp_path / "show"
    show.write_text('#!/bin/sh\nfor argument in "$@"; do echo "$argument"; done\n')
    show.chmod(0o755)
    config = SlurmConfig(ray_args=["--labels=a b"], ray_port=7000, interface="ib 0", logs="/shared/my logs")
    script = render(config, Work("n", tmp_path, str(show), WORK.arguments, WORK.run_folder))
    done = subprocess.run(
        ["bash"],
        input=script,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "SLURM_JOB_ID": "7"},
    )
    lines = done.stdout.splitlines()
    assert lines[:2] == ["-m", "launch.job"]
    settings = parse(lines[2:])
    assert settings.training == ("recipe=dapo", "data.eval=[{name: a, limit: 8}]", "run.name=dapo-7")
    assert settings.run_folder == Path("/shared/runs/dapo-7")
    assert settings.ray.extra == ("--labels=a b",)
    assert (settings.ray.port, settings.ray.interface) == (7000, "ib 0")
    assert settings.ray.logs == Path("/shared/my logs")


@pytest.mark.slow
def test_a_run_keeps_its_name_over_attempts(tmp_path):
    _, work = plan("--dry-run", "slurm.cpus_per_node=3", f"run.root={tmp_path}", "recipe=dapo", "seed=4")
    assert work.arguments == (
        "recipe=dapo", "seed=4", "cluster.cpus=3", f'run.root="{tmp_path}"', "run.name=dapo-$SLURM_JOB_ID",
        "run.resume=auto",
    )  # fmt: skip
    assert work.run_folder == f"{tmp_path}/dapo-$SLURM_JOB_ID"
    _, work = plan("--dry-run", f"run.root={tmp_path}", "recipe=dapo", "run.name=mine", "cluster.cpus=1")
    assert work.run_folder == f"{tmp_path}/mine"
    assert [a for a in work.arguments if a.startswith("cluster")] == ["cluster.cpus=1"]


@pytest.mark.slow
def test_the_newest_run_is_the_one_of_the_submission(tmp_path):
    shutil.copytree(model_folder("builtin"), tmp_path / "first" / "policy")
    (tmp_path / "latest").symlink_to("first")
    command = (f"run.root={tmp_path}", "recipe=dapo", f"model.path={tmp_path}/latest/policy")
    _, single = plan("--dry-run", *command)
    assert single.arguments[-1] == f'model.path="{tmp_path}/first/policy"'
    _, sweep = plan("-m", *command, "seed=1,2")
    for line in sweep.sweep_lines.splitlines():
        assert json.loads(line)["arguments"][-1] == single.arguments[-1]


@pytest.mark.slow
def test_recipes_of_ones_own_are_submitted(tmp_path):
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe" / "mine.yaml").write_text("# @package _global_\nrecipe: mine\nsteps: 7\n")
    _, work = plan("--config-dir", str(tmp_path), "recipe=mine")
    assert work.name == "rlvr-mine"
    assert work.arguments[:3] == ("--config-dir", str(tmp_path), "recipe=mine")
    _, work = plan("--config-dir", str(tmp_path), "-m", "recipe=mine", "seed=1,2")
    assert "--config-dir" in work.sweep_lines
    assert "--cfg=job: not an option of a run on SLURM" in refusal("--cfg=job", "recipe=dapo")


@pytest.mark.slow
def test_a_sweep_becomes_an_array_of_its_unfinished_jobs(tmp_path, monkeypatch):
    command = ("slurm.concurrency=2", "-m", "recipe=dapo,grpo", "seed=1,2", f"run.root={tmp_path}")
    config, work = plan(*command)
    assert work.tasks == (0, 1, 2, 3)
    assert "#SBATCH --array=0,1,2,3%2\n" in render(config, work)
    assert not (tmp_path / "sweep").exists()  # planning writes nothing
    slurm.write_jobs(work)
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    assert work.sweep_file is not None
    settings = parse(launch_line(render(config, work)))
    assert settings.run_folder == tmp_path / "sweep" / "recipe-grpo_seed-2"
    assert {"recipe=grpo", "seed=2", "run.resume=auto", "hydra.mode=RUN"} <= set(settings.training)
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "9")
    with pytest.raises(JobError, match="has no job for array task 9"):
        parse(launch_line(render(config, work)))


def launch_line(script: str) -> list[str]:
    command = script[script.index("exec ") :].replace("\\\n", " ")
    return shlex.split(command)[4:]


def test_addresses_and_ports():
    assert address_towards("127.0.0.1") == interface_address("lo") == "127.0.0.1"
    assert interface_of("127.0.0.1") == "lo"
    assert interface_of("203.0.113.9") == ""
    with pytest.raises(ConfigError, match=r"slurm.interface=ib9: .* has .*lo"):
        interface_address("ib9")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert choose_port("127.0.0.1", None) != port
        with pytest.raises(ConfigError, match=f"slurm.ray_port={port}: taken on"):
            choose_port("127.0.0.1", port)
        wait_for_port("127.0.0.1", port, 1.0)
    with pytest.raises(DeadlineError, match=f"127.0.0.1:{port} did not answer within 0.3 s"):
        wait_for_port("127.0.0.1", port, 0.3)


def test_a_run_is_paused_by_sigusr1():
    before = signal.getsignal(signal.SIGUSR1)
    try:
        asked = listen_for_pause()
        assert not asked.is_set()
        os.kill(os.getpid(), signal.SIGUSR1)
        assert asked.wait(5)
    finally:
        signal.signal(signal.SIGUSR1, before)
    made: list[threading.Event] = []
    thread = threading.Thread(target=lambda: made.append(listen_for_pause()))  # signals are the main thread's
    thread.start()
    thread.join(5)
    assert not made[0].is_set()


def test_without_slurm_the_launcher_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(slurm.SlurmError, match="no such command here"):
        slurm.submit("#!/bin/bash\n", WORK, tmp_path / "logs")


def test_a_controller_that_does_not_answer_is_not_waited_for(tmp_path, monkeypatch):
    sbatch = tmp_path / "sbatch"
    sbatch.write_text(f"#!{sys.executable}\nimport time\ntime.sleep(60)\n")
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(slurm, "COMMAND_SECONDS", 0.5)
    started = time.monotonic()
    with pytest.raises(slurm.SlurmError, match=r"sbatch: no answer within 0.5 s"):
        slurm.submit("#!/bin/bash\n", WORK, tmp_path / "logs")
    assert time.monotonic() - started < 20
