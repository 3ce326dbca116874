"""Dynamic sampling: refill, cap, partial batches and data positions, with engines and graders in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.config import Config
from rlvr.data.stream import EpochSource, PromptStream
from rlvr.reward.verdict import GradeRequest, Outcome, Verdict
from rlvr.rollout.collect import collect, has_signal, training_sampling
from rlvr.rollout.sampling import Sampling
from rlvr.rollout.streaming.rounds import next_draw
from rlvr.runtime.checkpoints.checkpoint import TrainingState, state_from
from rlvr.types import Group, Prompt, RolloutBatch, Sample, Span, Successes
from tests.helpers.records import group, prompt, sample


class Stream:
    """An endless stream: prompt i is called i."""

    def take(self, position: int, count: int) -> list[Prompt]:
        return [prompt(str(i)) for i in range(position, position + count)]


def number(p: Prompt) -> int:
    """Which problem, in whatever epoch."""
    return int(p.id.partition("#")[0])


@dataclass
class Engines:
    """Answers prompt i with `right(i)` right samples first, the rest wrong."""

    right: Callable[[int], int]
    calls: list[tuple[str, list[int]]] = field(default_factory=list)
    sampling: Sampling | None = None

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling, *, n: int, key: str) -> list[Group]:
        self.sampling = sampling
        self.calls.append((key, [number(p) for p in prompts]))
        return [self._group(p, n, key) for p in prompts]

    def _group(self, p: Prompt, n: int, key: str) -> Group:
        right = self.right(number(p))
        samples = [
            Sample(
                id=f"{key}/{p.id}/{i}",
                token_ids=(7, 8, 9),
                logprobs=np.zeros(3, dtype=np.float32),
                text="right" if i < right else "wrong",
                truncated=False,
                spans=(Span(0, 0),),
            )
            for i in range(n)
        ]
        return Group(p, tuple(samples))


class Graders:
    """Grades by the text, and answers in another order than it was asked; fails on the first `broken` of a prompt."""

    def __init__(self, broken: int = 0) -> None:
        self.broken = broken

    def grade(self, requests: Sequence[GradeRequest]) -> dict[str, Verdict]:
        assert len({r.sample_id for r in requests}) == len(requests)
        return {
            r.sample_id: Verdict(
                r.sample_id,
                Outcome.FAILED
                if int(r.sample_id.rpartition("/")[2]) < self.broken
                else Outcome.CORRECT
                if r.response == "right"
                else Outcome.WRONG,
                None,
                "1",
                0.0,
            )
            for r in reversed(requests)
        }


def run(
    right: Callable[[int], int], *, position: int = 0, broken: int = 0, limit: float = 1.0, **changes: int
) -> tuple[RolloutBatch, Engines]:
    """Collect a step of 4 prompts x 4 samples with dynamic sampling."""
    cfg = Config(recipe="test")
    cfg.data.prompts_per_step, cfg.rollout.samples_per_prompt = 4, 4
    cfg.rollout.dynamic_sampling, cfg.rollout.max_rounds = True, 3
    for name, value in changes.items():
        setattr(cfg.rollout, name, value)
    cfg.reward.max_failed = limit
    engines = Engines(right)
    batch = collect(engines, Graders(broken), Stream(), cfg, position=position, step=5)
    return batch, engines


def ids(groups: Sequence[Group]) -> list[int]:
    """Which prompts."""
    return [int(g.prompt.id) for g in groups]


def test_without_dynamic_sampling_one_round_keeps_everything():
    batch, engines = run(lambda i: 4, position=8, dynamic_sampling=False)
    assert ids(batch.groups) == [8, 9, 10, 11]
    assert [c[1] for c in engines.calls] == [[8, 9, 10, 11]]
    assert (batch.rounds, batch.short_of, batch.data_position, batch.prompts_drawn) == (1, 0, 12, 4)
    assert batch.acceptance == 1
    assert batch.generated_tokens == 4 * 4 * 3
    assert batch.dropped == ()
    assert {s.reward for g in batch.groups for s in g.samples} == {1.0}


def test_groups_without_signal_are_replaced():
    batch, engines = run(lambda i: 2 if i % 2 else 4)  # the even prompts are all right
    # Two of four are kept, then the acceptance of 1/2 asks for four more.
    assert [c[1] for c in engines.calls] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert ids(batch.groups) == [1, 3, 5, 7]
    assert ids(batch.dropped) == [0, 2, 4, 6]
    assert (batch.rounds, batch.short_of, batch.data_position) == (2, 0, 8)
    assert (batch.prompts_drawn, batch.prompts_kept, batch.acceptance) == (8, 4, 0.5)
    assert batch.generated_tokens == 8 * 4 * 3
    assert batch.seconds.keys() == {"generate", "reward"}
    assert len({key for key, _ in engines.calls}) == 2  # sample ids differ between rounds


def test_no_more_are_drawn_than_are_likely_to_be_needed():
    _batch, engines = run(lambda i: 2 if i else 0)  # one of four is missing: two, at an acceptance of 3/4
    assert [c[1] for c in engines.calls] == [[0, 1, 2, 3], [4, 5]]


def test_surplus_groups_are_cut_in_order_and_reported():
    batch, _ = run(lambda i: 2 if i >= 2 else 0)  # 2 of 4 kept, then 4 more drawn of which all are kept
    assert ids(batch.groups) == [2, 3, 4, 5]
    assert ids(batch.dropped) == [0, 1, 6, 7]
    assert (batch.prompts_kept, batch.short_of, batch.data_position) == (6, 0, 8)


def test_the_cap_leaves_a_partial_batch():
    batch, engines = run(lambda i: 2 if i == 1 else 0)
    assert len(engines.calls) == batch.rounds == 3
    assert ids(batch.groups) == [1]
    assert batch.short_of == 3
    assert batch.data_position == batch.prompts_drawn == 12
    assert ids(batch.dropped) == [0, *range(2, 12)]


def test_nothing_kept_is_an_empty_batch_not_an_endless_loop():
    batch, engines = run(lambda i: 0)
    assert batch.groups == ()
    assert batch.short_of == 4
    assert len(engines.calls) == 3
    assert batch.acceptance == 0


def test_the_signal_is_that_of_the_graded_samples():
    # Of four samples the first has failed: what differs only from it does not differ.
    batch, _ = run(lambda i: {0: 1, 1: 2, 2: 4}.get(i, 0), broken=1, max_rounds=1)
    assert ids(batch.groups) == [1]
    assert ids(batch.dropped) == [0, 2, 3]
    assert [s.failed for s in batch.groups[0].samples] == [True, False, False, False]


def test_no_further_round_where_the_verifier_fails_too_often():
    _batch, engines = run(lambda i: 0, broken=1, limit=0.2)
    assert len(engines.calls) == 1
    _batch, engines = run(lambda i: 0, broken=1, limit=0.25)  # a quarter is allowed
    assert len(engines.calls) == 3
    _batch, engines = run(lambda i: 2, broken=4, limit=1.0)  # nothing at all was graded
    assert len(engines.calls) == 1


@given(
    pattern=st.lists(st.integers(0, 4), min_size=1, max_size=12),
    rounds=st.integers(1, 5),
    position=st.integers(0, 50),
)
def test_every_prompt_drawn_is_accounted_for(pattern, rounds, position):
    batch, engines = run(lambda i: pattern[i % len(pattern)], position=position, max_rounds=rounds)
    drawn = [i for _, call in engines.calls for i in call]
    assert drawn == list(range(position, batch.data_position))
    assert sorted(ids(batch.groups) + ids(batch.dropped)) == drawn
    assert len(batch.groups) + batch.short_of == 4
    assert all(has_signal(g, "binary") for g in batch.groups)
    assert all(len(call) <= 4 for _, call in engines.calls)
    assert batch.rounds <= rounds
    assert batch.short_of == 0 or batch.rounds == rounds
    again, _ = run(lambda i: pattern[i % len(pattern)], position=position, max_rounds=rounds)
    assert [s.id for g in again.groups for s in g.samples] == [s.id for g in batch.groups for s in g.samples]


@pytest.mark.parametrize(
    ("missing", "kept", "drawn", "most", "expected"),
    [
        (8, 0, 0, 8, 8),  # first round: as many as wanted
        (4, 4, 8, 8, 8),  # half were kept: twice the missing
        (1, 7, 8, 8, 2),
        (8, 0, 8, 8, 8),  # none kept: no more than a whole batch
        (1, 1, 100, 8, 8),
        (3, 9, 9, 12, 3),  # all kept: just the missing
    ],
)
def test_next_draw_by_hand(missing, kept, drawn, most, expected):
    assert next_draw(missing, kept, drawn, most) == expected


def test_signal_is_a_difference_in_correctness_not_in_reward():
    assert has_signal(group("a", [1.0, 0.0]), "binary")
    assert not has_signal(group("a", [1.0, 0.5]), "binary")  # both right, one punished for its length
    assert not has_signal(group("a", [0.0, 0.0]), "binary")
    assert not has_signal(group("a", [1.0]), "binary")
    assert not has_signal(group("a", [1.0, float("nan")]), "binary")
    assert not has_signal(group("a", [float("nan")] * 2), "binary")
    assert has_signal(group("a", [1.0, float("nan"), 0.0]), "binary")


def test_with_raw_rewards_signal_is_a_difference_in_score():
    def scored(*scores: float) -> Group:
        verdicts = [Verdict("", Outcome.WRONG, None, None, 0.0, score=score) for score in scores]
        samples = [replace(sample(f"a/{i}"), verdict=verdict) for i, verdict in enumerate(verdicts)]
        return Group(prompt("a"), tuple(samples))

    assert has_signal(scored(0.25, 0.5), "raw")
    assert not has_signal(scored(0.25, 0.5), "binary")  # none is right
    assert not has_signal(scored(0.5, 0.5), "raw")
    assert not has_signal(group("a", [1.0, 0.5]), "raw")  # both right, one punished for its length


def test_training_samples_as_configured():
    cfg = Config(recipe="test")
    cfg.rollout.temperature, cfg.rollout.top_p, cfg.rollout.top_k = 0.7, 0.9, 20
    assert training_sampling(cfg) == Sampling(0.7, 0.9, 20, cfg.rollout.max_response_tokens, logprobs=True)


def prioritized(steps: int, *, restart: int | None = None) -> list[tuple[list[int], int]]:
    """What a run with a curriculum asks in each step, and how much it passes over; with `restart` it goes on after
    that step from what a checkpoint holds."""
    cfg = Config(recipe="test")
    cfg.data.prompts_per_step, cfg.rollout.samples_per_prompt, cfg.rollout.dynamic_sampling = 6, 4, True
    cfg.data.sampler, cfg.data.sampler_floor = "prioritized", 0.2
    stream = PromptStream("test", EpochSource(tuple(prompt(str(i)) for i in range(30)), seed=1))
    position, known, found = 0, {}, []
    for step in range(1, steps + 1):
        engines = Engines(lambda i: i % 5)  # of 4 answers: problems 0, 5, ... are hopeless, 4, 9, ... solved
        batch = collect(engines, Graders(), stream, cfg, position=position, step=step, known=known)
        found.append(([n for _, asked in engines.calls for n in asked], batch.skipped))
        position, known = batch.data_position, batch.successes
        if step == restart:
            state = TrainingState(step, position, 0, 0.0, 0.0, {}, successes=known)
            position, known = restored(state)
            assert known == batch.successes
            assert any(right % 1 for right, _ in known.values())  # halves, which no integer holds
    return found


def restored(state: TrainingState) -> tuple[int, Successes]:
    """Position and successes as they come back from the text of a checkpoint."""
    again = state_from(json.loads(json.dumps(asdict(state))))
    return again.data_position, again.successes


def test_a_curriculum_goes_on_from_a_checkpoint_as_if_it_had_never_stopped():
    whole = prioritized(12)
    assert prioritized(12, restart=5) == whole
    assert sum(skipped for _, skipped in whole) > 0
    early, late = ([n for asked, _ in part for n in asked] for part in (whole[:2], whole[-4:]))
    teaching = [sum(n % 5 in (1, 2, 3) for n in part) / len(part) for part in (early, late)]
    assert teaching[1] > teaching[0]


def test_a_run_without_a_curriculum_knows_nothing():
    batch, _ = run(lambda i: 2)
    assert (batch.successes, batch.skipped) == ({}, 0)
