"""What is said of calls that are not done in time."""

from __future__ import annotations

from rlvr.cluster.board import PLACED, READY, UNPLACED, Doing
from rlvr.cluster.calls import why_late


def test_actors_without_a_process_are_named_and_what_keeps_ray_from_starting_one():
    said = why_late({"engine-0": UNPLACED, "learner-0": READY, "engine-1": UNPLACED, "learner-1": PLACED})
    assert said.startswith("No process has come up for engine-0, engine-1: either no node")
    assert "without bash in PATH" in said
    assert "that process is stuck or too slow" in said  # it may be a call of learner-0 that is late


def test_with_all_processes_up_the_call_itself_is_slow():
    assert why_late({"engine-0": Doing("loads the model"), "learner-0": PLACED}).startswith(
        "The process is stuck"
    )
    assert why_late({}).startswith("The process is stuck")
