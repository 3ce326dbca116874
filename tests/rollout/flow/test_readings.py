"""Evaluations beside the batches of a flow, with engines in memory: whole, of the right weights, waited for."""

from __future__ import annotations

import pytest

from rlvr.errors import ActorError, DeadlineError
from rlvr.rollout.flow.readings import Question, Reading
from rlvr.rollout.flow.source import FlowSource
from rlvr.rollout.sampling import Sampling
from tests.helpers.memory_lanes import STEPS, WANT, MemoryLanes, config, open_flow, wait_for_round, wait_until
from tests.helpers.records import prompt

GREEDY, SAMPLED = Sampling(0.0, 1.0, -1, 8, logprobs=False), Sampling(0.6, 0.9, -1, 8, logprobs=False)


def questions(step: int) -> list[Question]:
    """Of two sets, the first with one greedy response a problem and the second with three."""
    few = [Question("few", f"eval-few@{step}", prompt(name), 100, GREEDY, 1) for name in "ab"]
    return few + [Question("all", f"eval-all@{step}", prompt(name), 200, SAMPLED, 3) for name in "abc"]


def push(source: FlowSource, lanes: MemoryLanes, step: int) -> None:
    with source.paused("push"):
        lanes.version = step
    source.trained(step)


def check(reading: Reading) -> None:
    assert {name: [g.prompt.id for g in groups] for name, groups in reading.sets.items()} == {
        "few": ["a", "b"],
        "all": ["a", "b", "c"],
    }
    for name, groups in reading.sets.items():
        for group in groups:
            ids = [f"eval-{name}@{reading.step}/{group.prompt.id}/{i}" for i in range(len(group.samples))]
            assert [s.id for s in group.samples] == ids
            assert len(ids) == (1 if name == "few" else 3)
            assert [s.correct for s in group.samples] == [i == 0 for i in range(len(ids))]
            assert min(s.weight_version for s in group.samples) >= reading.step


@pytest.mark.parametrize("on_update", ["wait", "keep", "recompute"])
def test_evaluations_are_whole_whatever_is_pushed_meanwhile_and_no_batch_knows_of_them(
    on_update: str,
) -> None:
    lanes = MemoryLanes(2)
    source = open_flow(config(staleness=2, on_update=on_update), lanes)
    beside = source.beside
    assert beside is not None
    done: list[Reading] = []
    seen: list[str] = []
    try:
        for step in range(1, STEPS + 1):
            batch = source.next(step)
            assert len(batch.groups) == WANT
            assert all(len(group.samples) == 2 for group in batch.groups)
            seen += [group.prompt.id for group in (*batch.groups, *batch.dropped)]
            push(source, lanes, step)
            done += beside.answered()
            if step < STEPS:
                beside.read(step, questions(step))
        done += beside.answered(wait=True)
    finally:
        source.close()
    assert beside.reading == set()
    assert sorted(reading.step for reading in done) == list(range(1, STEPS))
    for reading in done:
        check(reading)
    assert sorted(map(int, [*seen, *map(str, batch.pending)])) == list(range(batch.data_position))
    asked = {request.key: request for request in lanes.asked}
    assert asked["eval-few@1/a/0"].sampling == GREEDY
    assert [asked[f"eval-all@1/c/{i}"].seed for i in range(3)] == [200, 201, 202]
    assert asked["eval-all@2/c/1"].sampling == SAMPLED
    assert all(r.sampling is None for key, r in asked.items() if not key.startswith("eval-"))


def test_an_evaluation_begins_before_further_training_groups() -> None:
    lanes = MemoryLanes(1)
    lanes.held = True
    source = open_flow(config(), lanes)
    wait_until(lambda: lanes.running(0) == 4)  # as many as it advances together
    source.beside.read(0, questions(0))
    wait_for_round(lanes)
    before = len(lanes.asked)
    lanes.held = False
    source.beside.answered(wait=True)
    source.close()
    assert all(request.key.startswith("eval-") for request in lanes.asked[before : before + 11])


def test_what_a_lost_engine_had_of_an_evaluation_is_sampled_by_the_others() -> None:
    lanes = MemoryLanes(2)
    source = open_flow(config(), lanes)
    lanes.endless = "eval-few@0"
    key = "eval-few@0/a/0"
    source.beside.read(0, questions(0)[:1])
    wait_until(lambda: any(key in list(running) for running in lanes._running))
    lanes.lose(next(engine for engine, running in enumerate(lanes._running) if key in list(running)))
    lanes.endless = ""
    [reading] = source.beside.answered(wait=True)
    source.close()
    assert [sample.id for group in reading.sets["few"] for sample in group.samples] == [key]
    assert key in lanes.asked_again  # with the seed that it had, see MemoryLanes


def test_what_is_not_done_is_not_waited_for_unless_asked_and_then_up_to_a_deadline() -> None:
    lanes = MemoryLanes(1)
    lanes.endless = "eval-all@0"
    source = open_flow(config(deadline_seconds=0.1), lanes)
    source.beside.read(0, questions(0))
    assert source.beside.answered() == []
    assert source.beside.reading == {0}
    wait_until(lambda: "eval-all@0/a/0" in list(lanes._running[0]))
    with pytest.raises(
        DeadlineError, match=r"evaluation after step 0: not done within 0\.1 s .*eval-all@0/a/0"
    ):
        source.beside.answered(wait=True)
    source.close()


def test_a_failure_of_the_engines_ends_the_wait_for_an_evaluation() -> None:
    lanes = MemoryLanes(1)
    lanes.held = True
    source = open_flow(config(deadline_seconds=60), lanes)
    source.beside.read(0, questions(0))
    lanes.fails = ActorError("engine-0: the process behind it died")
    with pytest.raises(ActorError, match="engine-0"):
        source.beside.answered(wait=True)
    source.close()


def test_nothing_evaluates_beside_the_batches_where_that_is_switched_off() -> None:
    cfg = config()
    cfg.eval.in_stream = "never"
    source = open_flow(cfg, MemoryLanes(1))
    assert source.beside is None
    source.close()
