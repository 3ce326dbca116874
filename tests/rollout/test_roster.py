"""Engines that are lost and start again, over actors in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from types import SimpleNamespace

import pytest

from rlvr import timing
from rlvr.errors import ActorError, DeadlineError
from rlvr.rollout import roster as module
from rlvr.rollout.roster import Roster


class Call:
    """An answer on its way."""

    def __init__(self) -> None:
        self.answer: object = None  # not there yet

    def remote(self) -> Call:
        return self


class Fleet:
    """What spawn, kill and outcomes see."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.killed: list[object] = []
        self.spawned: list[int] = []
        self.said: list[str] = []
        self.without_room: set[str] = set()  # engines that no node has room for
        self.asks: Callable[[], object] = lambda: None  # runs where Ray is asked
        monkeypatch.setattr(module, "kill", self.killed.extend)
        monkeypatch.setattr(module, "outcomes", self.outcomes)
        monkeypatch.setattr(module, "is_placed", self.is_placed)
        monkeypatch.setattr(module, "room", self.room)

    def spawn(self, engine: int) -> object:
        self.spawned.append(engine)
        return SimpleNamespace(ready=Call())

    def is_placed(self, name: str) -> bool:
        self.asks()
        return name not in self.without_room

    def room(self) -> str:
        self.asks()
        return "1 node(s) with 2 CPU slots and 0 GPUs"

    def outcomes(self, refs: Sequence[Call], **_: object) -> list[tuple[Call, object]]:
        return [(ref, ref.answer) for ref in refs if ref.answer is not None]

    def roster(self, **settings: object) -> Roster:
        defaults = {"restarts": 1, "start_deadline_seconds": 60.0, "mendable": True}
        made = Roster(self.spawn, 2, **defaults | settings)
        made.say = self.said.append
        return made


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Fleet:
    return Fleet(monkeypatch)


DIED = ActorError("the process behind it died")
WITH_NODE = ActorError("restart: the process behind it died with its node (its node has died)")


def test_a_lost_engine_starts_again_and_joins_only_with_weights(fleet: Fleet) -> None:
    roster = fleet.roster()
    before = roster.handles[1]
    roster.lose(1, 0, DIED)
    roster.lose(1, 0, DIED)  # told of by another call: not another loss
    assert (roster.up(), fleet.killed, fleet.spawned) == ({0: 0}, [before], [0, 1, 1])
    assert roster.returned() == {}
    roster.handles[1].ready.answer = {"vllm": "1"}
    assert roster.returned() == {1: 1} == roster.returned()
    assert roster.up() == {0: 0}, "it would be asked with the weights of the model's folder"
    roster.join({1: 1})
    assert roster.up() == {0: 0, 1: 1}
    assert "engine-1 is lost and started again, 0 more times at most" in fleet.said[0]


def test_past_its_restarts_a_run_goes_on_without_an_engine_and_ends_with_the_last(fleet: Fleet) -> None:
    roster = fleet.roster()
    roster.lose(1, 0, DIED)
    roster.handles[1].ready.answer = ActorError("its constructor failed")
    assert roster.returned() == {}
    assert "not started again (rollout.restarts)" in fleet.said[1]
    assert roster.up() == {0: 0}
    roster.lose(0, 0, DIED)  # starts again
    roster.handles[0].ready.answer = DIED
    with pytest.raises(ActorError, match="the process behind it died"):
        roster.await_one()


def test_an_engine_that_takes_too_long_to_start_is_lost_once_more(fleet: Fleet) -> None:
    roster = fleet.roster(start_deadline_seconds=0.0)
    roster.lose(1, 0, DIED)
    roster.returned()
    assert "engine-1 did not start again within 0 s (rollout.start_deadline_seconds)" in fleet.said[1]


def test_a_roll_call_finds_the_dead_and_the_silent(fleet: Fleet) -> None:
    roster = fleet.roster()
    roster.handles[0].ready.answer = {"vllm": "1"}
    roster.call(1.0)
    assert roster.up() == {0: 0}
    assert "it did not answer within 1 s (rollout.stall_seconds)" in fleet.said[0]


def test_all_are_replaced_without_it_being_held_against_them(fleet: Fleet) -> None:
    roster = fleet.roster(restarts=0)
    roster.replace_all({0: 0}, "a push failed half-way")
    assert roster.up() == {1: 0}
    roster.handles[0].ready.answer = {"vllm": "1"}
    assert roster.returned() == {0: 1}


def test_where_no_engine_can_be_replaced_the_reason_ends_the_run(fleet: Fleet) -> None:
    roster = fleet.roster(mendable=False)
    with pytest.raises(DeadlineError, match="too slow"):
        roster.lose(0, 0, DeadlineError("too slow"))
    assert fleet.killed == []


def test_who_waits_for_engines_learns_what_another_thread_met_with(fleet: Fleet) -> None:
    roster = fleet.roster(restarts=0)
    roster.lose(1, 0, ActorError("the first"))
    with pytest.raises(ActorError, match="the last"):
        roster.lose(0, 0, ActorError("the last"))
    with pytest.raises(ActorError, match="the last"):  # in a push or an evaluation, say
        roster.await_one()


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, as its only element."""
    now = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])
    return now


def test_an_engine_without_room_waits_for_a_node_while_others_live(fleet: Fleet, at: list[float]) -> None:
    roster = fleet.roster(restarts=1)
    fleet.without_room = {"engine-1"}
    roster.lose(1, 0, DIED)
    for _ in range(100):  # longer than ten times its deadline
        at[0] += 9.0
        assert roster.returned() == {}
    assert fleet.spawned == [0, 1, 1], "another process has no more room than the first"
    assert "engine-1 has no process yet: the Ray cluster has 1 node(s) with 2 CPU slots" in fleet.said[1]
    assert "the run goes on with 1 engine(s)" in fleet.said[1]
    assert 10 < len(fleet.said) < 20, "once for each deadline, not at each look"
    fleet.without_room = set()  # a node has come
    roster.returned()
    at[0] += 59.0
    roster.returned()
    assert len(fleet.spawned) == 3, "the deadline of a start counts from when there is room"
    roster.handles[1].ready.answer = {"vllm": "1"}
    assert roster.returned() == {1: 1}


def test_a_run_ends_where_no_node_has_room_for_any_engine(fleet: Fleet, at: list[float]) -> None:
    roster = fleet.roster(restarts=5)
    fleet.without_room = {"engine-0", "engine-1"}
    roster.lose(0, 0, DIED)
    roster.lose(1, 0, DIED)
    at[0] += 61.0
    with pytest.raises(
        DeadlineError, match=r"no node had room for engine-. for 60 s .*smaller rollout.engines"
    ):
        roster.await_one()
    assert fleet.spawned == [0, 1, 0, 1]


def test_a_start_that_a_lost_node_took_along_costs_no_restart(fleet: Fleet) -> None:
    roster = fleet.roster(restarts=1)
    fleet.without_room = {"engine-1"}
    roster.lose(1, 0, DIED)  # the last that it has
    for _ in range(3):
        roster.handles[1].ready.answer = WITH_NODE
        assert roster.returned() == {}
    assert fleet.spawned == [0, 1, 1, 1, 1, 1]
    roster.handles[1].ready.answer = WITH_NODE
    assert roster.returned() == {}
    assert fleet.spawned == [0, 1, 1, 1, 1, 1], "a start that fails always would go on for ever"
    assert "engine-1 is lost and not started again (rollout.restarts)" in fleet.said[-1]


def test_a_start_that_died_alone_costs_a_restart(fleet: Fleet) -> None:
    roster = fleet.roster(restarts=1)
    fleet.without_room = {"engine-1"}  # killed for its memory, say, before it could report anything
    roster.lose(1, 0, DIED)
    roster.handles[1].ready.answer = DIED
    assert roster.returned() == {}
    assert fleet.spawned == [0, 1, 1]
    assert "engine-1 is lost and not started again (rollout.restarts)" in fleet.said[-1]


@pytest.mark.parametrize("loaded", [False, True])
def test_no_engine_is_given_up_while_another_loads(fleet: Fleet, at: list[float], loaded: bool) -> None:
    roster = fleet.roster(restarts=5, start_deadline_seconds=60.0)
    fleet.without_room = {"engine-1"}
    roster.lose(1, 0, DIED)
    at[0] += 40.0
    roster.lose(0, 0, DIED)  # all have died; this one is placed
    at[0] += 30.0
    if loaded:
        roster.handles[0].ready.answer = {"vllm": "1"}
    assert roster.returned() == ({0: 1} if loaded else {})
    assert "engine-1 has no process yet" in fleet.said[-1]
    fleet.without_room = set()
    for handle in roster.handles:
        handle.ready.answer = {"vllm": "1"}
    assert roster.returned() == {0: 1, 1: 1}


def test_whoever_needs_the_roster_does_not_wait_for_ray(fleet: Fleet, at: list[float]) -> None:
    roster = fleet.roster(restarts=5)
    free: list[bool] = []

    def take() -> None:
        free.append(roster._lock.acquire(blocking=False))
        if free[-1]:
            roster._lock.release()

    def another_thread() -> None:
        thread = threading.Thread(target=take)
        thread.start()
        thread.join()

    fleet.asks = another_thread
    fleet.without_room = {"engine-1"}
    roster.lose(1, 0, DIED)
    at[0] += 40.0
    roster.returned()
    roster.handles[1].ready.answer = WITH_NODE
    roster.returned()
    assert "engine-1 has no process yet" in fleet.said[1]
    assert "engine-1 is started once more" in fleet.said[2]
    assert free == [True] * 3  # its place, the room, its place


def test_what_was_seen_of_a_life_does_not_count_for_the_next(fleet: Fleet, at: list[float]) -> None:
    roster = fleet.roster(restarts=5)
    fleet.without_room = {"engine-1"}
    roster.lose(1, 0, DIED)
    at[0] += 61.0

    def lose_it() -> None:  # by another thread, in the meantime
        fleet.asks = lambda: None
        roster.lose(1, 1, DIED)

    fleet.asks = lose_it
    roster.returned()
    assert fleet.spawned == [0, 1, 1, 1]
    assert len(fleet.said) == 2, "the new life has only begun"
