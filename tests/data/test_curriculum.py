"""The curriculum: which prompts are passed over, what is known of a problem, and that nothing is given up."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.config import Config, SourceConfig
from rlvr.data.curriculum import (
    PRIORITIZED,
    UNIFORM,
    Standing,
    after,
    check_sampler,
    count_standings,
    draw,
    problem_id,
    standing,
    visited,
)
from rlvr.data.models.tokenizer import load_tokenizer
from rlvr.data.stream import EpochSource, MixtureSource, PromptStream, build_training_stream
from rlvr.errors import DataError
from rlvr.types import Group, Successes
from tests.helpers.records import group, prompt

SOLVED, OPEN, HOPELESS = (16.0, 16.0), (8.0, 16.0), (0.0, 16.0)
records = st.sampled_from([None, SOLVED, OPEN, HOPELESS])


def stream(size: int, seed: int = 1) -> PromptStream:
    """A finite data set, in an order of its own in each epoch."""
    return PromptStream("test", EpochSource(tuple(prompt(f"p{i}") for i in range(size)), seed))


def config(sampler: str = PRIORITIZED, floor: float = 0.1, seed: int = 1) -> Config:
    cfg = Config(recipe="test", seed=seed)
    cfg.data.sampler, cfg.data.sampler_floor = sampler, floor
    return cfg


def known_of(found: list[tuple[float, float] | None]) -> Successes:
    """What is known of problems p0, p1, ..."""
    return {f"p{i}": past for i, past in enumerate(found) if past is not None}


@pytest.mark.parametrize(
    ("right", "tried", "samples", "expected"),
    [
        (16, 16, 16, Standing.SOLVED),
        (15, 16, 16, Standing.OPEN),  # one wrong answer is to be expected
        (7.5 + 16, 8 + 16, 16, Standing.SOLVED),  # a third of one
        (0, 16, 16, Standing.HOPELESS),
        (1, 16, 16, Standing.OPEN),
        (0.25, 16, 16, Standing.HOPELESS),
        (0.5, 16, 16, Standing.OPEN),  # half of one is not fewer
        (15.5, 16, 16, Standing.OPEN),
        (3, 4, 4, Standing.OPEN),
        (31, 32, 4, Standing.SOLVED),  # for small groups an eighth of a wrong answer
    ],
)
def test_standing_by_hand(right: float, tried: float, samples: int, expected: Standing) -> None:
    assert standing(right, tried, samples) is expected
    assert visited((right, tried), samples, 0.2) == (1.0 if expected is Standing.OPEN else 0.2)


def test_what_is_known_by_hand() -> None:
    known = after({}, [group("a", [1, 0, 1, 1]), group("b", [0, 0, float("nan"), 0])], "binary")
    assert known == {"a": (3.0, 4.0), "b": (0.0, 3.0)}
    again = replace(group("a", [1, 1, 1, 1]), prompt=prompt("a#7"))
    assert after(known, [again], "binary") == {"a": (0.5 * 3 + 4, 0.5 * 4 + 4), "b": (0.0, 3.0)}
    assert known["a"] == (3.0, 4.0)  # a new record, none changed
    assert after({}, [group("c", [float("nan"), 1])], "binary") == {"c": (1.0, 1.0)}
    assert (
        after(known, [group("b", [float("nan")] * 2)], "binary") == known
    )  # a verifier that fails tells nothing
    assert count_standings(known, 4) == {Standing.OPEN: 1, Standing.SOLVED: 0, Standing.HOPELESS: 1}


def test_with_partial_credit_a_problem_is_open_as_long_as_groups_differ_in_it() -> None:
    def scored(name: str, scores: list[float]) -> Group:
        made = group(name, [float(score >= 0.5) for score in scores])
        return replace(
            made,
            samples=tuple(
                replace(s, verdict=replace(s.verdict, score=score))
                for s, score in zip(made.samples, scores, strict=True)
            ),
        )

    groups = [scored("a", [0.99, 1.0, 1.0]), scored("b", [0.7] * 3), scored("c", [0.3] * 3)]
    assert after({}, groups, "raw") == {"a": (2.5, 3.0), "b": (3.0, 3.0), "c": (0.0, 3.0)}
    assert [standing(*past, 3) for past in after({}, groups, "raw").values()] == [
        Standing.OPEN,
        Standing.SOLVED,
        Standing.HOPELESS,
    ]
    assert after({}, groups, "binary")["a"] == (3.0, 3.0)


@pytest.mark.slow
@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=8), min_size=1, max_size=6), st.randoms())
def test_the_order_of_a_batch_does_not_matter(rewards: list[list[bool]], order: random.Random) -> None:
    groups = [group(f"p{i}", [float(right) for right in row]) for i, row in enumerate(rewards)]
    shuffled = order.sample(groups, len(groups))
    once = after({}, groups, "binary")
    twice = after(once, groups, "binary")
    assert after({}, shuffled, "binary") == once
    for name, (right, tried) in twice.items():
        assert 0 <= right <= tried
        assert right / tried == pytest.approx(once[name][0] / once[name][1])


@given(st.integers(0, 500), st.integers(0, 40), st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_uniform_takes_the_stream_as_it_is(position: int, count: int, size: int, seed: int) -> None:
    source = stream(size, seed)
    known = known_of([SOLVED] * size)
    plain = draw(source, position, count, config(UNIFORM), known)
    assert list(plain.prompts) == source.take(position, count)
    assert (plain.position, plain.skipped) == (position + count, 0)
    assert draw(source, position, count, config(), {}) == plain  # nothing is known of any problem yet


@pytest.mark.slow
@given(
    st.lists(records, min_size=1, max_size=20),
    st.integers(0, 100),
    st.integers(0, 20),
    st.integers(0, 20),
    st.floats(0.05, 1.0),
    st.integers(0, 1000),
)
def test_a_draw_is_the_stream_without_what_is_passed_over(
    found, position, first, second, floor, seed
) -> None:
    source, cfg, known = stream(len(found)), config(floor=floor, seed=seed), known_of(found)
    whole = draw(source, position, first + second, cfg, known)
    before = draw(source, position, first, cfg, known)
    rest = draw(source, before.position, second, cfg, known)
    assert whole.prompts == before.prompts + rest.prompts  # however it is asked for
    assert (whole.position, whole.skipped) == (rest.position, before.skipped + rest.skipped)

    walked = source.take(position, whole.position - position)
    assert len(walked) == len(whole.prompts) + whole.skipped
    left = iter(whole.prompts)
    current = next(left, None)
    for one in walked:
        if one == current:
            current = next(left, None)
        else:  # passed over: only what is known to be solved or hopeless
            assert standing(*known[problem_id(one)], cfg.rollout.samples_per_prompt) is not Standing.OPEN
    assert current is None


def test_ids_that_end_as_those_of_an_epoch_stay_apart() -> None:
    names = ("q", "q#1", "q#2", "q#1#2")
    source = PromptStream("test", EpochSource(tuple(map(prompt, names)), seed=1, shuffle=False))
    drawn = source.take(0, 3 * len(names))
    assert [problem_id(p) for p in drawn] == [*names] * 3
    assert len({p.id for p in drawn}) == len(drawn)


@pytest.mark.parametrize("floor", [0.1, 0.5])
def test_the_floor_is_the_share_of_visits_that_take_place(floor: float) -> None:
    drawn = draw(stream(50), 0, 400, config(floor=floor), known_of([SOLVED, HOPELESS] * 25))
    share = 400 / (400 + drawn.skipped)
    assert abs(share - floor) < 4 * (floor * (1 - floor) / (400 / floor)) ** 0.5
    assert len({problem_id(p) for p in drawn.prompts}) == 50  # none is given up
    assert draw(stream(50), 0, 40, config(floor=1.0), known_of([SOLVED] * 50)).skipped == 0


@dataclass
class Learner:
    """Answers problem i rightly with its own probability, which rises where groups teach."""

    chance: list[float]
    rng: random.Random

    def answer(self, name: str) -> list[float]:
        return [float(self.rng.random() < self.chance[int(name[1:])]) for _ in range(16)]


CHANCES = (0.0, 0.0, 1.0, 0.5, 0.9)  # of a right answer, problem by problem in turn


def steps(sampler: str, *, every: int = 60, size: int = 100) -> tuple[float, set[int]]:
    """Accepted share of the groups, and the problems visited in the last third, of a policy that stays as it is."""
    learner = Learner([CHANCES[i % len(CHANCES)] for i in range(size)], random.Random(0))
    source, cfg = stream(size), config(sampler)
    known: Successes = {}
    position = accepted = drawn = 0
    late: set[int] = set()
    for step in range(every):
        found = draw(source, position, 16, cfg, known)
        position = found.position
        groups = [replace(group("x", learner.answer(problem_id(p))), prompt=p) for p in found.prompts]
        accepted += sum(len({s.correct for s in g.samples}) > 1 for g in groups)
        drawn += len(groups)
        known = after(known, groups, "binary") if sampler == PRIORITIZED else {}
        late |= {int(problem_id(p)[1:]) for p in found.prompts} if step >= 2 * every // 3 else set()
    return accepted / drawn, late


@pytest.mark.slow
def test_fewer_groups_are_wasted_and_no_kind_of_problem_is_given_up() -> None:
    uniform, _ = steps(UNIFORM)
    prioritized, late = steps(PRIORITIZED)
    assert prioritized > 1.5 * uniform
    assert {i for i in range(100) if CHANCES[i % 5] == 0.5} <= late  # all that surely teach something,
    assert {CHANCES[i % 5] for i in late} == set(CHANCES)  # and some of the others


def test_a_source_without_an_end_is_refused_by_name() -> None:
    cfg, tokenizer = config(), load_tokenizer("builtin")
    endless = build_training_stream(cfg.data, tokenizer, seed=1, eval_sets=())
    with pytest.raises(
        DataError, match=r"data\.sampler=prioritized with arithmetic: an endless source.*limit"
    ):
        check_sampler(cfg, endless)
    check_sampler(config(UNIFORM), endless)
    cfg.data.train.limit = 20
    check_sampler(cfg, build_training_stream(cfg.data, tokenizer, seed=1, eval_sets=()))

    both = [SourceConfig(name="arithmetic", weight=3.0), SourceConfig(name="arithmetic_heldout", limit=20)]
    cfg.data.train = SourceConfig(name="mixture", sources=both)
    with pytest.raises(DataError, match="prioritized with arithmetic: an endless"):
        check_sampler(cfg, build_training_stream(cfg.data, tokenizer, seed=1, eval_sets=()))


def test_the_parts_of_a_mixture_are_passed_over_by_themselves() -> None:
    parts = tuple(
        PromptStream(name, EpochSource(tuple(prompt(f"{name}{i}") for i in range(9)), 1)) for name in "ab"
    )
    mixed = PromptStream("a+b", MixtureSource(parts, (1, 1)))
    known = {f"a{i}": SOLVED for i in range(9)}
    found = draw(mixed, 0, 60, config(), known)
    shares = [sum(p.id.startswith(name) for p in found.prompts) / 60 for name in "ab"]
    assert shares[0] < 0.25 < shares[1]
