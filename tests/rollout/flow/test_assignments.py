"""Which request waits for which engine: dealt out once, dropped when cancelled, forgotten with the engine."""

from __future__ import annotations

from rlvr.rollout.flow.assignments import Assignments
from rlvr.rollout.stepping import Request


def request(key: str) -> Request:
    return Request(key, (1,), 0)


def test_a_request_is_sent_once_and_held_until_it_is_finished() -> None:
    assigned = Assignments()
    assigned.assign(0, request("a"))
    assert assigned.take(0, fresh=False) is None, "it was sent into a pause"
    assert assigned.take(0, fresh=True) == ([request("a")], [])
    assert assigned.take(0, fresh=True) == ([], []), "it runs: the engine goes on"
    assigned.finished(0, "a")
    assert (assigned.held(0), assigned.take(0, fresh=True)) == ([], None)


def test_what_is_cancelled_before_it_was_sent_is_never_sent() -> None:
    assigned = Assignments()
    assigned.assign(0, request("a"))
    assigned.take(0, fresh=True)
    assigned.assign(0, request("b"))
    assigned.cancel(0, ["a", "b", "unknown"])
    assert assigned.take(0, fresh=True) == ([], ["a"])
    assert (assigned.held(0), assigned.take(0, fresh=True)) == ([], None)


def test_a_lost_engine_holds_nothing() -> None:
    assigned = Assignments()
    for key in ("a", "b"):
        assigned.assign(0, request(key))
    assigned.take(0, fresh=True)
    assigned.assign(0, request("c"))
    assigned.cancel(0, ["a"])
    assigned.assign(1, request("d"))
    assigned.lost(0)
    assert (assigned.held(0), assigned.take(0, fresh=True)) == ([], None)
    assert assigned.held(1) == ["d"]
