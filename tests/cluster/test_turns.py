"""The order in which engines and learner take turns on one GPU: memory is never held twice, nor used empty."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from rlvr.cluster.turns import Turn, TurnError, Turns


class Memory:
    """What the moves leave on the GPU; asserts that no move asks for what does not fit or is not there."""

    def __init__(self) -> None:
        self.engine: set[str] = set()
        self.learner = {"parameters", "states"}
        self.done: list[str] = []

    def engines_sleep(self) -> None:
        assert self.engine
        self.done.append("sleep")
        self.engine = set()

    def engines_wake_weights(self) -> None:
        assert not self.engine
        assert "states" not in self.learner, "the optimiser's states leave before the engines' weights come"
        self.done.append("weights")
        self.engine = {"weights"}

    def engines_wake_cache(self) -> None:
        assert self.engine == {"weights"}
        assert not self.learner, "the KV cache takes what the learner has left"
        self.done.append("cache")
        self.engine = {"weights", "cache"}

    def push_again(self) -> None:
        assert self.engine == {"weights"}
        assert self.learner == {"parameters"}
        self.done.append("push")

    def learner_load(self) -> None:
        assert not self.engine
        self.done.append("load")
        self.learner = {"parameters", "states"}

    def learner_keep_parameters(self) -> None:
        assert self.learner == {"parameters", "states"}
        self.done.append("keep")
        self.learner = {"parameters"}

    def learner_unload(self) -> None:
        assert self.learner
        self.done.append("unload")
        self.learner = set()


HELD = {
    Turn.GENERATE: ({"weights", "cache"}, set()),
    Turn.LEARN: (set(), {"parameters", "states"}),
    Turn.PUSH: ({"weights"}, {"parameters"}),
}


def test_a_step_goes_round_once():
    memory = Memory()
    turns = Turns(memory, level=2, start=Turn.LEARN)
    for _ in range(2):
        turns.take(Turn.PUSH)
        turns.pushed()
        turns.take(Turn.GENERATE)
        turns.take(Turn.GENERATE)
        turns.take(Turn.LEARN)
        turns.take(Turn.LEARN)
    assert memory.done == ["keep", "weights", "unload", "cache", "sleep", "load"] * 2


@given(st.lists(st.sampled_from(list(Turn)), max_size=12), st.sampled_from([1, 2]))
def test_every_order_of_turns_holds_what_the_turn_needs_and_no_more(wanted, level):
    memory = Memory()
    turns = Turns(memory, level=level, start=Turn.LEARN)
    for turn in wanted:
        turns.take(turn)
        assert turns.now is turn
        assert (memory.engine, memory.learner) == HELD[turn]


@pytest.mark.parametrize(("level", "pushes"), [(1, 0), (2, 1)])
def test_weights_that_a_sleep_dropped_are_sent_again_before_they_are_used(level, pushes):
    memory = Memory()
    turns = Turns(memory, level=level, start=Turn.LEARN)
    turns.take(Turn.PUSH)
    turns.pushed()
    turns.take(Turn.GENERATE)
    turns.take(Turn.LEARN)  # a checkpoint is written, say
    turns.take(Turn.GENERATE)
    assert memory.done.count("push") == pushes


def test_a_push_outside_its_turn_is_refused():
    turns = Turns(Memory(), level=1, start=Turn.LEARN)
    with pytest.raises(TurnError, match="pushed in the turn learn"):
        turns.pushed()
