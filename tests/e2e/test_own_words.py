"""What a library raises inside a process of a run reaches the user in the library's words, at once."""

from __future__ import annotations

import time
from typing import Any

import pytest
from ray import cloudpickle

from rlvr import cluster
from rlvr.entry import exit_code, readable_errors
from rlvr.errors import ActorError
from rlvr.guard import RemoteError

from . import failing_actors
from .failing_actors import Failing

pytestmark = pytest.mark.e2e
cloudpickle.register_pickle_by_value(failing_actors)  # Ray's workers do not see the tests' folder


def start(how: str) -> Any:
    return cluster.spawn(Failing, cluster.Placement("engine-0", 0.0, 1), how)


def call(*refs: Any, seconds: float = 60.0) -> list[Any]:
    return cluster.wait(refs, deadline_seconds=seconds, what="start of the rollout engines")


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("unpicklable", "Unpicklable: max_model_len 4096 at 256 positions"),
        ("exit", "SystemExit: engine core initialisation failed"),
        ("chained", "Engine core initialization failed"),
    ],
)
def test_a_constructor_that_fails(ray_cluster: cluster.Cluster, how: str, words: str) -> None:
    actor = start(how)
    with pytest.raises(Exception, match=words) as raised:
        call(actor.work.remote("fine"))
    assert not isinstance(raised.value, ActorError)
    assert exit_code(raised.value) == 1  # not the 69 with which a job is requeued
    assert any("start of the rollout engines" in note for note in raised.value.__notes__)
    cluster.kill([actor])


def test_a_call_that_fails(ray_cluster: cluster.Cluster) -> None:
    actor = start("fine")
    assert call(actor.work.remote("fine")) == [7]
    with pytest.raises(RemoteError, match=r"Unpicklable: shape \[0\] at scoring"):
        call(actor.work.remote("unpicklable"))
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        call(actor.work.remote("memory"))
    assert call(actor.work.remote("fine")) == [7]  # an exception is no death
    cluster.kill([actor])


def test_a_process_that_dies_is_the_reason_for_what_fails_beside_it(ray_cluster: cluster.Cluster) -> None:
    one, other = start("fine"), start("fine")
    call(one.work.remote("fine"), other.work.remote("fine"))
    with pytest.raises(ActorError, match="the process behind it died") as raised:
        call(other.work.remote("memory"), one.work.remote("die"))
    assert exit_code(raised.value) == 69
    cluster.kill([other])


def test_the_first_failure_ends_the_wait(ray_cluster: cluster.Cluster) -> None:
    slow, broken = start("fine"), start("unpicklable")
    began = time.monotonic()
    with pytest.raises(RemoteError):
        call(slow.sleep.remote(40.0), broken.work.remote("fine"), seconds=60.0)
    assert time.monotonic() - began < 30
    cluster.kill([slow, broken])


def test_a_foreign_exception_of_a_process_is_printed_without_a_traceback(
    ray_cluster: cluster.Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    actor = start("fine")
    with pytest.raises(SystemExit) as ended, readable_errors():
        call(actor.work.remote("memory"))
    assert ended.value.code == 1
    printed = capsys.readouterr().err
    assert "RuntimeError: DefaultCPUAllocator" in printed
    assert "Traceback" not in printed
    cluster.kill([actor])
