"""What is started on every node of a job, and on which node nothing is."""

from __future__ import annotations

import os

import pytest

from launch import node
from launch.node import ray_command


def test_the_head_and_a_worker_start_ray_at_the_same_address(monkeypatch):
    monkeypatch.setenv("RAY_TMPDIR", "/scratch/17")
    own = {"address": "10.0.0.1:7000", "own_ip": "10.0.0.2", "cpus": "16", "gpus": "8"}
    worker = ray_command(node="n2", head=False, **own)
    assert {"--node-name=n2", "--address=10.0.0.1:7000", "--node-ip-address=10.0.0.2", "--num-gpus=8"} <= set(
        worker
    )
    head = ray_command(node="n1", head=True, **{**own, "address": "127.0.0.1:7000"})
    assert {"--head", "--port=7000", "--node-ip-address=127.0.0.1", "--num-cpus=16"} <= set(head)
    # /tmp/ray belongs to whoever ran Ray on the node first
    assert [a for a in head if a.startswith("--temp-dir=")] == [f"--temp-dir=/scratch/17/ray-{os.getuid()}"]
    assert not any(a.startswith("--temp-dir") for a in worker)


def test_a_node_on_which_ray_could_start_no_actor_is_refused_before_it_starts(monkeypatch, capsys):
    monkeypatch.setattr("os.execv", lambda *command: pytest.fail(f"{command} was started"))
    monkeypatch.setattr(
        "sys.argv", ["node", "--address=127.0.0.1:7000", "--head-node=n1", "--ready-seconds=1"]
    )
    for name, value in {"SLURMD_NODENAME": "n1", "SLURM_CPUS_ON_NODE": "1", "PATH": "/nowhere"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match="1"):
        node.main()
    assert "n1: no bash is in PATH=/nowhere, and Ray starts every actor" in capsys.readouterr().err
