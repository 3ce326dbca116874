"""Engines and the nodes that they run on, on a real Ray: light actors in their stead, so that only the places count."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlvr import cluster
from rlvr.cluster.board import READY, Doing, report
from rlvr.config import ClusterConfig
from rlvr.errors import ActorError, DeadlineError
from rlvr.rollout import roster as module
from rlvr.rollout.roster import Roster
from rlvr.timing import Deadline
from tests.helpers.ray_nodes import RayNodes

pytestmark = pytest.mark.e2e


class LightEngine:
    """Says what an engine says while it starts, and loads nothing."""

    def __init__(self) -> None:
        report(Doing("loads the model"))
        report(READY)

    def ready(self) -> dict[str, str]:
        return {}


@pytest.fixture
def nodes() -> Iterator[RayNodes]:
    folder = Path(tempfile.mkdtemp(prefix="rlvr"))
    nodes = RayNodes(folder, {})
    yield nodes
    cluster.shutdown()
    nodes.end()
    shutil.rmtree(folder, ignore_errors=True)


def returned(roster: Roster) -> dict[int, int]:
    deadline = Deadline(300)
    while not (lives := roster.returned(1.0)):
        assert not deadline.passed
    return lives


def test_engines_wait_for_a_node_and_cost_no_restart(
    nodes: RayNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setattr(module, "_ROOM_SECONDS", 1.0)
    nodes.start("head", cpus=0)
    for name in ("first", "second"):
        nodes.start(name, cpus=1)
    cluster.start(ClusterConfig(address=nodes.address), actors=2)
    said: list[str] = []
    roster = Roster(
        lambda engine: cluster.spawn(LightEngine, cluster.Placement(f"engine-{engine}", 0, 1)),
        2,
        restarts=1,
        start_deadline_seconds=300.0,
        mendable=True,
    )
    roster.say = said.append
    cluster.wait([h.ready.remote() for h in roster.handles], deadline_seconds=300, what="start")
    nodes.lose(nodes.of("engine-1"))
    roster.call(300)
    assert roster.up() == {0: 0}
    assert "engine-1 is lost and started again, 0 more times at most" in said[0]
    deadline = Deadline(300)
    while not any("engine-1 has no process yet: the Ray cluster has " in text for text in said):
        assert not deadline.passed, said
        roster.returned(1.0)
    nodes.start("third", cpus=1)
    roster.join(returned(roster))
    assert (set(roster.up()), nodes.of("engine-1")) == ({0, 1}, "third")

    roster._start_deadline = 5.0  # there is no node for anything to start on
    for engine in ("engine-0", "engine-1"):  # the second has no restart left, the first no place
        nodes.lose(nodes.of(engine))
    roster.call(300)
    # Ray may cancel the start with its node more often than that costs nothing.
    with pytest.raises(
        (DeadlineError, ActorError),
        match=r"no node had room for engine-0 .*rollout.engines|died with its node",
    ):
        roster.await_one()


def test_a_node_that_starts_no_process_is_told_from_a_process_that_is_slow(
    nodes: RayNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    nodes.start("head", cpus=0)
    nodes.env["PATH"] = "/nonexistent"  # no bash
    nodes.start("bare", cpus=1)
    cluster.start(ClusterConfig(address=nodes.address), actors=1)
    engine = cluster.spawn(LightEngine, cluster.Placement("engine-0", 0, 1))
    with pytest.raises(
        DeadlineError, match=r"within 10 s\. No process has come up for engine-0: .* without bash in PATH\. "
    ):
        cluster.wait([engine.ready.remote()], deadline_seconds=10, what="start of the rollout engines")
