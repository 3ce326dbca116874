"""What reaches the user when something fails inside an actor: its own words, and which kind of failure it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from rlvr import cluster
from rlvr.cli.exits import exit_code
from rlvr.config import ClusterConfig, Config
from rlvr.data.models.tokenizer import load_tokenizer, model_folder
from rlvr.errors import ActorError, ConfigError, DeadlineError, RemoteError
from rlvr.rollout.pool import EnginePool
from tests.helpers.fragile import FAILURES, Fragile

pytestmark = pytest.mark.e2e
TESTS = Path(__file__).parents[1]
SEARCH_PATH = os.pathsep.join([str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")])


WORDS = {
    "cannot be pickled": ("Locked: the scheduler is locked",),
    "cannot be unpickled": ("WantsTwo: half the weights",),
    "wraps another": (
        "RuntimeError: the model could not be set up",
        "because of KeyError",
        "max_position_embeddings",
    ),
    "pydantic": ("ValidationError: length: Value error, length 4096 is too much",),
    "exits": ("SystemExit: 3",),
    "recursion": ("RecursionError",),
    "megabytes": ("ValueError: first", "last"),
    "out of memory": ("RuntimeError", "memory"),
    "mute": ("Mute: (its text cannot be read)",),
    "of a user": ("OfAUser: mine",),
    "many": ("two (2 sub-exceptions)", "because of OSError: disk"),
}


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[cluster.Cluster]:
    """A local Ray with room for a handful of actors."""
    yield cluster.start(ClusterConfig(), actors=8)
    cluster.shutdown()


def test_no_process_waits_for_work_that_nobody_has_asked_for(actor: Any) -> None:
    """Ray's own way is one for each core, all of them importing Python's libraries while the actors start."""
    call(actor.pid.remote(), deadline_seconds=120)
    ours = [process.cmdline() for process in psutil.Process().children(recursive=True)]
    assert any("raylet" in words[0] for words in ours if words)
    assert not [words for words in ours if words[:1] == ["ray::IDLE"]]


def test_actors_run_at_the_priority_of_their_driver(ray_cluster: cluster.Cluster) -> None:
    import ray

    priority = ray.remote(lambda: os.getpriority(os.PRIO_PROCESS, 0))
    assert ray.get(priority.remote(), timeout=120) == os.getpriority(os.PRIO_PROCESS, 0)


WITHOUT_RAY = """
import time
import psutil
from rlvr import cluster
from rlvr.config import ClusterConfig
from rlvr.errors import ActorError

class Sleeper:
    def rest(self, seconds):
        time.sleep(seconds)

cluster.start(ClusterConfig(cpus=1), actors=1)
sleeper = cluster.spawn(Sleeper, cluster.Placement("sleeper", 0, 1))
cluster.wait([sleeper.rest.remote(0)], deadline_seconds=120, what="a start")
resting = sleeper.rest.remote(600)
next(child for child in psutil.Process().children() if child.name() == "NAME").kill()
began = time.monotonic()
try:
    cluster.wait([resting], deadline_seconds=300, what="a rest")
except ActorError as error:
    cluster.shutdown()
    print(f"{time.monotonic() - began:.0f} s: {error}")
"""


@pytest.mark.parametrize("name", ["gcs_server", "raylet"])
def test_ray_itself_is_lost(name: str) -> None:
    script = WITHOUT_RAY.replace("NAME", name)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    seconds, _, said = done.stdout.splitlines()[-1].partition(" s: ")
    assert int(seconds) < 50  # Ray itself ends the process after 60
    assert (
        said.startswith(f"Ray's own process {name} has ended") or "a rest: the process behind it died" in said
    )


def spawned(*args: Any, name: str = "engine-0") -> Any:
    return cluster.spawn(Fragile, cluster.Placement(name, 0, 1, {"PYTHONPATH": SEARCH_PATH}), *args)


def call(*refs: Any, deadline_seconds: float = 60) -> list[Any]:
    return cluster.wait(refs, deadline_seconds=deadline_seconds, what="a test")


@pytest.fixture(scope="module")
def actor(ray_cluster: cluster.Cluster) -> Any:
    return spawned()


@pytest.mark.parametrize("how", FAILURES)
def test_a_call_that_fails(actor: Any, how: str) -> None:
    with pytest.raises(RemoteError) as caught:
        call(actor.fail.remote(how))
    message = str(caught.value)
    assert message.startswith("engine-0 failed with ")
    assert all(word in message for word in WORDS[how]), message
    assert "memory" not in message or how == "out of memory"
    assert len(message) < 9_000
    assert caught.value.__notes__ == ["(inside an actor, during: a test)"]
    assert exit_code(caught.value) == 1
    log = message.rpartition("(the traceback is in ")[2].rstrip(")")
    assert f"line {FAILURES[how].__code__.co_firstlineno}" in Path(log).read_text() or how in (
        "wraps another",
        "recursion",
    )
    assert call(actor.after.remote("that")) == ["after that"]  # the actor goes on


@pytest.mark.parametrize(
    "how", ["cannot be pickled", "cannot be unpickled", "pydantic", "exits", "megabytes"]
)
def test_a_constructor_that_fails(ray_cluster: cluster.Cluster, how: str) -> None:
    broken = spawned(how)
    for _ in range(2):  # every call says so
        with pytest.raises(RemoteError) as caught:
            call(broken.pid.remote())
        assert all(word in str(caught.value) for word in WORDS[how])
        assert exit_code(caught.value) == 1
    cluster.kill([broken])


def test_our_own_errors_come_as_they_are(actor: Any) -> None:
    with pytest.raises(
        ConfigError, match=r"^rollout.engines=9: too many\n\(inside an actor, during: a test\)$"
    ):
        call(actor.refuse.remote())
    with pytest.raises(RemoteError, match="No space left on device") as caught:
        call(actor.disk.remote())
    assert isinstance(caught.value, OSError)  # what the callers of export and checkpoint look for


def test_a_result_that_cannot_be_sent(actor: Any) -> None:
    with pytest.raises(RemoteError, match="cannot pickle"):
        call(actor.unsendable.remote())


def test_a_failed_call_fails_those_that_wait_for_its_result(actor: Any) -> None:
    other = spawned(name="learner-1")
    with pytest.raises(RemoteError, match="engine-0 failed with WantsTwo: half the weights"):
        call(other.after.remote(actor.fail.remote("cannot be unpickled")))
    cluster.kill([other])


def test_the_first_failure_ends_the_wait(actor: Any) -> None:
    slow = spawned(name="learner-0")
    call(slow.pid.remote())
    begun = time.monotonic()
    with pytest.raises(RemoteError, match="failed with WantsTwo"):
        cluster.wait_together(
            cluster.Calls([slow.sleep.remote(50)], 60, "start of the learner"),
            cluster.Calls([actor.fail.remote("cannot be unpickled")], 60, "start of the engines"),
        )
    assert time.monotonic() - begun < 50  # the slow call was not waited for
    cluster.kill([slow])


def test_each_group_of_calls_has_its_own_deadline(actor: Any) -> None:
    slow = spawned(name="learner-0")
    [[pid], [text]] = cluster.wait_together(
        cluster.Calls([slow.pid.remote()], 60, "one"), cluster.Calls([actor.after.remote(1)], 60, "two")
    )
    assert (type(pid), text) == (int, "after 1")
    with pytest.raises(
        DeadlineError,
        match=r"two: 1 of 2 calls \(number \[1\]\) not done within 3 s.* raise learner\.deadline_seconds",
    ) as caught:
        cluster.wait_together(
            cluster.Calls([actor.sleep.remote(0)], 60, "one"),
            cluster.Calls([actor.pid.remote(), slow.sleep.remote(50)], 3, "two", "learner.deadline_seconds"),
        )
    assert exit_code(caught.value) == 69
    assert "The process is stuck or too slow" in str(caught.value)
    cluster.kill([slow])


def test_a_process_that_dies_is_lost_and_not_refused(ray_cluster: cluster.Cluster) -> None:
    victim, peer = spawned(name="learner-1"), spawned(name="learner-0")
    [pid] = call(victim.pid.remote())
    refs = [peer.fail.remote("cannot be unpickled"), victim.sleep.remote(50)]  # the peer complains first
    time.sleep(1)
    os.kill(pid, signal.SIGTERM)  # which Ray raises as SystemExit; test_bad_input has SIGKILL
    with pytest.raises(ActorError, match="the process behind it died") as caught:
        call(*refs)
    assert exit_code(caught.value) == 69
    cluster.kill([victim, peer])


def test_an_engine_says_why_it_cannot_start(ray_cluster: cluster.Cluster) -> None:
    cfg = Config(recipe="test")
    cfg.model.max_length = 4096  # where a run of ours lets it pass; see test_context
    pool = EnginePool(cfg, model_folder("builtin"), load_tokenizer("builtin"), "cpu")
    with pytest.raises(
        RemoteError, match=r"engine-0 failed with ValidationError: .*max_model_len \(4096\)"
    ) as caught:
        pool.ready()
    assert exit_code(caught.value) == 1
    cluster.kill(pool.handles)


def test_an_engine_that_is_killed_leaves_no_files(ray_cluster: cluster.Cluster) -> None:
    pool = EnginePool(Config(recipe="test"), model_folder("builtin"), load_tokenizer("builtin"), "cpu")
    pool.ready()
    [where] = call(pool.handles[0].__ray_call__.remote(lambda _: tempfile.gettempdir()))
    folder = Path(where)
    assert folder.name.startswith("rlvr-")
    assert list(folder.glob("vllm_dist_*")), (
        "vLLM makes its rendezvous file elsewhere now: see rlvr.rollout.engine.keep_files_apart"
    )
    for process in psutil.Process().children(recursive=True):
        if process.environ().get("RLVR_ACTOR") == "engine-0":
            process.kill()
    end = time.monotonic() + 90
    while folder.exists():
        assert time.monotonic() < end
        time.sleep(0.1)
