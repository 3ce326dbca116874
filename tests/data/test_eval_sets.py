"""What a set says of its own evaluation: its name, which problems are drawn, when it is due and how it is sampled."""

from __future__ import annotations

import pytest

from rlvr.config import Config, EvalConfig, SourceConfig
from rlvr.data.eval_sets import drawn, due, eval_named, eval_of
from rlvr.data.models.tokenizer import load_tokenizer
from rlvr.data.stream import build_eval_sets
from rlvr.types import Problem

PROBLEMS = [Problem(f"own/{i}", f"{i}?", "1", "own") for i in range(40)]


def two_readings() -> Config:
    """A greedy one of a few problems at every fifth step, and a sampled one of all of them at both ends."""
    cfg = Config(recipe="test", steps=20)
    cfg.eval = EvalConfig(every=10, samples_per_prompt=8, temperature=0.7, top_p=0.9)
    few = SourceConfig(
        name="arithmetic_heldout",
        label="few",
        limit=40,
        draw=6,
        every=5,
        samples_per_prompt=1,
        temperature=0.0,
    )
    cfg.data.eval = [SourceConfig(name="arithmetic_heldout", limit=40, every=0), few]
    return cfg


def test_what_a_set_does_not_say_is_as_for_all() -> None:
    cfg = two_readings()
    everything, few = cfg.data.eval
    assert eval_of(everything, cfg.eval) == EvalConfig(0, 8, 0.7, 0.9)
    assert eval_of(few, cfg.eval) == EvalConfig(5, 1, 0.0, 0.9)
    assert eval_named("few", cfg) == eval_of(few, cfg.eval)
    assert eval_named("of no set", cfg) == cfg.eval


@pytest.mark.parametrize(
    ("step", "names"),
    [
        (0, ("arithmetic_heldout", "few")),
        (4, ()),
        (5, ("few",)),
        (10, ("few",)),
        (20, ("arithmetic_heldout", "few")),
    ],
)
def test_when_a_set_is_due(step: int, names: tuple[str, ...]) -> None:
    assert due(two_readings(), step) == names


def test_a_set_of_the_steps_between_is_not_due_at_the_ends() -> None:
    cfg = two_readings()
    cfg.data.eval[1].first_and_last = False
    assert due(cfg, 0) == due(cfg, 20) == ("arithmetic_heldout",)
    assert due(cfg, 15) == ("few",)


def test_schedules_of_before_there_were_own_ones() -> None:
    cfg = Config(recipe="test", steps=60)
    assert [step for step in range(61) if due(cfg, step)] == [0, 20, 40, 60]
    cfg.eval.every = 0
    assert [step for step in range(61) if due(cfg, step)] == [0, 60]


def test_a_draw_is_the_same_in_every_run_in_the_order_of_the_set_and_part_of_a_larger_one() -> None:
    found = [drawn(PROBLEMS, SourceConfig(name="own", draw=n)) for n in (5, 5, 12, 40, 99)]
    assert [problem.id for problem in found[0]] == ["own/7", "own/17", "own/18", "own/28", "own/31"]
    assert found[0] == found[1]
    assert set(found[0]) < set(found[2])
    assert list(found[2]) == [problem for problem in PROBLEMS if problem in found[2]]
    assert found[3] == found[4] == tuple(PROBLEMS)


def test_a_set_listed_twice_has_two_names_and_its_problems_two_ids() -> None:
    everything, few = build_eval_sets(two_readings().data, load_tokenizer("builtin"))
    assert (everything.name, len(everything.prompts)) == ("arithmetic_heldout", 40)
    assert (few.name, len(few.prompts)) == ("few", 6)
    questions = {p.id: p.token_ids for p in everything.prompts}
    for prompt in few.prompts:
        label, _, name = prompt.id.partition("/")
        assert (label, questions[name]) == ("few", prompt.token_ids)
