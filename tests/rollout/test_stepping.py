"""The step loop over an engine in memory: who leaves when, and what a call reports of its responses."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from rlvr.cluster import board
from rlvr.cluster.board import READY, Doing
from rlvr.errors import ActorError
from rlvr.rollout import stepping
from rlvr.rollout.stepping import Request, StepLoop


class Engine:
    """A response takes as many steps as its prompt has tokens."""

    def __init__(self) -> None:
        self.left: dict[str, int] = {}
        self.salts: list[str] = []

    def add_request(self, name: str, prompt: dict[str, object], params: object, lora_request: object) -> None:
        ids = prompt["prompt_token_ids"]
        assert isinstance(ids, list)
        self.left[name] = len(ids)
        self.salts.append(str(prompt["cache_salt"]))

    def abort_request(self, names: list[str]) -> None:
        for name in names:
            del self.left[name]

    def step(self) -> list[SimpleNamespace]:
        self.left = {name: left - 1 for name, left in self.left.items()}
        done = [name for name, left in self.left.items() if left == 0]
        self.left = {name: left for name, left in self.left.items() if left}
        return [SimpleNamespace(finished=True, request_id=name, outputs=[f"text of {name}"]) for name in done]


def loop_of(**lengths: int) -> tuple[StepLoop[str], Engine]:
    engine = Engine()
    loop = StepLoop(engine, str.upper)
    for key, length in lengths.items():
        loop.add(Request(key, (1,) * length, 0), None, "7")
    return loop, engine


def test_samples_leave_when_they_are_finished() -> None:
    loop, engine = loop_of(a=2, b=1, c=2, d=5)
    assert loop.advance(60) == [("b", "TEXT OF B")]
    loop.cancel(["d", "b", "unknown"])
    assert "d" not in engine.left
    assert loop.advance(60) == [("a", "TEXT OF A"), ("c", "TEXT OF C")]
    assert (loop.running, loop.advance(60), set(engine.salts)) == (0, [], {"7"})


def test_a_slice_ends_with_its_time() -> None:
    loop, _ = loop_of(a=3)
    assert loop.advance(0.0) == []
    assert loop.running == 1


def test_a_call_waits_for_its_own_and_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Doing] = []
    monkeypatch.setattr(board, "report", told.append)
    monkeypatch.setattr(board, "REPORT_SECONDS", 0.0)
    monkeypatch.setattr(stepping, "report", told.append)
    loop, _ = loop_of(a=3, other=1, b=2, later=9)
    assert loop.until_done(["a", "b"]) == ["TEXT OF A", "TEXT OF B"]
    assert loop.running == 1
    assert loop.advance(0.0) == [("other", "TEXT OF OTHER")]
    assert told[0] == Doing("generates", 0, 2, "responses")
    assert [doing.done for doing in told[1:-1]] == [0, 1, 2]
    assert told[-1] == READY


def test_a_count_is_words_with_two_numbers() -> None:
    assert str(Doing("generates", 12, 64, "responses")) == "generates 12 of 64 responses"
    assert str(Doing("generates", 1234, 4096, "responses")) == "generates 1,234 of 4,096 responses"
    assert str(Doing("loads the model")) == "loads the model"
    assert str(Doing("fetches owner/model,", 1.25, 3.1, "GB")) == "fetches owner/model, 1.25 of 3.1 GB"


def test_a_step_that_fails_is_the_engines_fault() -> None:
    loop, engine = loop_of(a=3)

    def fails() -> None:
        raise ValueError("block table out of range")

    engine.step = fails
    with pytest.raises(
        ActorError, match=r"its step failed.* failed with ValueError: block table out of range"
    ):
        loop.advance(60)
