"""Slices of engine actors: what is taken from them, and which of their engines have failed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from rlvr.errors import ActorError, ConfigError, DeadlineError, RlvrError
from rlvr.rollout.flow import lanes as module
from rlvr.rollout.flow.lanes import RayLanes
from rlvr.rollout.generation import Generation, Slice
from rlvr.rollout.nonsense import nonsense
from rlvr.rollout.roster import Lives
from rlvr.rollout.sampling import Sampling
from rlvr.rollout.stepping import Request
from rlvr.types import Span

SHORT, LONG = Sampling(1.0, 1.0, -1, 2), Sampling(1.0, 1.0, -1, 3)


class Pool:
    """Two engines, each in its first life, and its roster; answers are set by hand."""

    def __init__(self) -> None:
        self.lives = {0: 0, 1: 0}
        self.lost: list[tuple[int, int, type[RlvrError]]] = []
        self.asked: list[tuple[int, list[str], list[str]]] = []
        self.answers: dict[int, Slice | RlvrError] = {}  # by engine; its reference is its number
        self.roster = self
        self.handles = [
            SimpleNamespace(advance=SimpleNamespace(remote=partial(self.begin, e))) for e in (0, 1)
        ]

    def up(self) -> Lives:
        return dict(self.lives)

    def begin(self, engine: int, requests: list[Request], cancelled: list[str], *rest: object) -> int:
        self.asked.append((engine, [request.key for request in requests], cancelled))
        return engine

    def lose(self, engine: int, life: int, why: RlvrError) -> None:
        self.lost.append((engine, life, type(why)))

    def nonsense(self, generation: Generation, sampling: Sampling) -> str | None:
        return nonsense(generation, most_tokens=sampling.max_tokens, vocabulary=9, logprobs=True)

    def outcomes(self, refs: Sequence[int], *, timeout: float, what: str) -> list[tuple[int, object]]:
        return [(ref, self.answers.pop(ref)) for ref in refs if ref in self.answers]


def answer(key: str, tokens: int) -> Slice:
    found = Generation(np.arange(tokens), np.zeros(tokens, dtype=np.float32), False, (Span(0, 0),))
    return Slice(((key, found),), 0.1, 0)


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Pool:
    made = Pool()
    monkeypatch.setattr(module, "outcomes", made.outcomes)
    return made


def begun(pool: Pool, stall_seconds: float = 60.0) -> RayLanes:
    """Engine 0 has two requests, one with a sampling of its own, and engine 1 drops one."""
    lanes = RayLanes(pool, SHORT, stall_seconds)
    lanes.advance(0, [Request("a", (1,), 0), Request("b", (1,), 0, LONG)], [])
    lanes.advance(1, [], ["c"])
    lanes.advance(7, [Request("d", (1,), 0)], [])  # not up
    return lanes


def test_slices_that_have_ended_are_handed_out_once(pool: Pool) -> None:
    lanes = begun(pool)
    assert pool.asked == [(0, ["a", "b"], []), (1, [], ["c"])]
    assert lanes.working().keys() == {0, 1}
    assert lanes.done(0.0) == []
    pool.answers[0] = slice_ = answer("b", 3)
    assert lanes.done(0.0) == [(0, slice_)]
    assert (lanes.working().keys(), lanes.done(0.0), pool.lost) == ({1}, [], [])


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        (ActorError("it has died"), ActorError),
        (DeadlineError("too late"), DeadlineError),
        (answer("a", 3), ActorError),  # one token more than were asked for
        (answer("b", 4), ActorError),
    ],
)
def test_an_engine_that_fails_or_answers_nonsense_is_lost_and_no_other(pool: Pool, found, kind) -> None:
    lanes = begun(pool)
    pool.answers = {0: found, 1: (fine := Slice((), 0.1, 0))}
    assert lanes.done(0.0) == [(1, fine)]
    assert pool.lost == [(0, 0, kind)]
    assert lanes.working() == {}


def test_what_any_engine_would_refuse_ends_the_run(pool: Pool) -> None:
    lanes = begun(pool)
    pool.answers[0] = ConfigError("the prompt is too long")
    with pytest.raises(ConfigError, match="too long"):
        lanes.done(0.0)
    assert pool.lost == []


def test_a_slice_of_an_earlier_life_is_forgotten_and_one_that_takes_too_long_lost(pool: Pool) -> None:
    lanes = begun(pool, stall_seconds=-1.0)
    pool.lives[1] = 1
    assert lanes.done(0.0) == []
    assert pool.lost == [(0, 0, DeadlineError)]
    assert lanes.working() == {}
