"""Evaluation reports by hand, and that results of several engines come back in the order of the prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from rlvr.config import Config
from rlvr.data.stream import EvalSet
from rlvr.errors import ActorError
from rlvr.reward.verdict import GradeRequest, Outcome, Verdict
from rlvr.rollout import pool as pool_module
from rlvr.rollout.generation import Generation, GenerationRequest, GenerationResult
from rlvr.rollout.pool import EnginePool
from rlvr.rollout.sampling import Sampling
from rlvr.runtime.evaluation import evaluate
from rlvr.seeding import derived_seed
from rlvr.stats.accuracy import accuracy_ci95
from rlvr.types import Group, Prompt, Span
from tests.helpers.records import prompt, sample

TEXTS = {"p": ["right", "right"], "q": ["right", "wrong"], "r": ["none", "right"]}


class Engines:
    """Answers with the texts above; the second sample of r is truncated."""

    def __init__(self) -> None:
        self.calls: list[tuple[Sampling, int, str]] = []

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling, *, n: int, key: str) -> list[Group]:
        self.calls.append((sampling, n, key))
        return [
            Group(
                p,
                tuple(
                    replace(
                        sample(f"{key}/{p.id}/{i}", range(i + 1)), text=text, truncated=(p.id, i) == ("r", 1)
                    )
                    for i, text in enumerate(TEXTS[p.id])
                ),
            )
            for p in prompts
        ]


class Graders:
    """Grades by the text."""

    def grade(self, requests: Sequence[GradeRequest]) -> dict[str, Verdict]:
        outcomes = {"right": Outcome.CORRECT, "wrong": Outcome.WRONG, "none": Outcome.NO_ANSWER}
        return {r.sample_id: Verdict(r.sample_id, outcomes[r.response], None, "1", 0.0) for r in requests}


def test_report_by_hand():
    cfg = Config(recipe="test")
    cfg.eval.samples_per_prompt, cfg.eval.temperature, cfg.eval.top_p = 2, 0.6, 0.95
    engines = Engines()
    sets = (
        EvalSet("all", (prompt("p"), prompt("q"), prompt("r"))),
        EvalSet("one", (prompt("p"),)),
    )
    everything, one = evaluate(engines, Graders(), sets, cfg)
    # Right: p twice, q once; the right answer of r is truncated and does not count.
    assert everything.accuracy == pytest.approx(3 / 6)
    graded = np.asarray([[True, True], [True, False], [False, False]])
    assert (everything.accuracy, everything.ci_low, everything.ci_high) == accuracy_ci95(graded)
    assert 0 <= everything.ci_low < 0.5 < everything.ci_high <= 1
    assert (everything.problems, everything.samples_per_problem) == (3, 2)
    assert everything.mean_length == pytest.approx(1.5)
    assert everything.truncated == pytest.approx(1 / 6)
    assert everything.outcomes == {"correct": 3, "wrong": 2, "no_answer": 1}
    assert sum(everything.outcomes.values()) == 6
    assert (one.name, one.accuracy, one.problems) == ("one", 1.0, 1)
    sampling, n, _ = engines.calls[0]
    assert sampling == Sampling(0.6, 0.95, -1, cfg.rollout.max_response_tokens, logprobs=False)
    assert n == 2


def test_every_evaluation_uses_the_same_random_numbers():
    cfg, engines = Config(recipe="test"), Engines()
    sets = (EvalSet("s", (prompt("p"),)),)
    for _ in range(2):
        evaluate(engines, Graders(), sets, cfg)
    assert engines.calls[0] == engines.calls[1]


# Seeds


def test_seeds_are_31_bit_stable_and_spread():
    assert derived_seed(1, "step", 7) == derived_seed(1, "step", 7)
    assert derived_seed(1, "a", 2) != derived_seed(1, "a", 3)
    many = [derived_seed(seed, "k", i) for seed in range(20) for i in range(100)]
    assert all(0 <= s < 2**31 for s in many)
    assert len(set(many)) == len(many)
    assert np.mean(many) == pytest.approx(2**30, rel=0.05)
    # A seed is part of what makes a run repeatable: it must not change between versions.
    assert derived_seed(1, "step", 1) == 1818643682


# The pool

Answer = tuple[list[GenerationResult], float]


class Done:
    """A call that has come back."""

    def __init__(self, value: Answer) -> None:
        self.value = value


class Remote:
    """One in-memory engine: answers carry the prompt's first token."""

    def __init__(self) -> None:
        self.requests: list[GenerationRequest] = []
        self.generate = self
        self.ready = SimpleNamespace(remote=lambda: None)

    def remote(self, requests: Sequence[GenerationRequest], sampling: Sampling) -> Done:
        self.requests += requests
        results = [
            GenerationResult(
                r.key,
                tuple(
                    Generation(
                        np.asarray([r.prompt_ids[0], i]), np.zeros(2, dtype=np.float32), i == 1, (Span(4, 0),)
                    )
                    for i in range(r.n)
                ),
            )
            for r in requests
        ]
        return Done((results, 0.5))


class Tokenizer:
    def batch_decode(self, ids: list[list[int]], skip_special_tokens: bool) -> list[str]:
        return [" ".join(map(str, row)) for row in ids]


def in_memory_pool(monkeypatch: pytest.MonkeyPatch, engines: int) -> tuple[EnginePool, list[Remote]]:
    """A pool whose calls are answered at once."""

    monkeypatch.setattr(pool_module, "outcomes", lambda refs, **_: [(ref, ref.value) for ref in refs])
    monkeypatch.setattr(pool_module, "spawn", lambda *_: Remote())
    cfg = Config(recipe="test")
    cfg.rollout.engines = engines
    pool = EnginePool(cfg, "model", Tokenizer(), "cpu")
    return pool, pool.handles


@pytest.mark.parametrize("engines", [1, 2, 3, 5])
def test_results_come_back_in_the_order_of_the_prompts(monkeypatch, engines):
    pool, remotes = in_memory_pool(monkeypatch, engines)
    prompts = [prompt(f"p{i}", [10 + i]) for i in range(7)]
    groups = pool.generate(prompts, Sampling(1.0, 1.0, -1, 8), n=2, key="3.0")
    assert [g.prompt for g in groups] == prompts
    assert [s.token_ids for g in groups for s in g.samples] == [
        (10 + i, j) for i in range(7) for j in range(2)
    ]
    assert [s.id for s in groups[2].samples] == ["3.0/p2/0", "3.0/p2/1"]
    assert [s.text for s in groups[2].samples] == ["12 0", "12 1"]
    assert [s.truncated for s in groups[2].samples] == [False, True]
    assert {s.weight_version for g in groups for s in g.samples} == {4}
    loads = [len(r.requests) for r in remotes]
    assert max(loads) - min(loads) <= 1


def test_seeds_do_not_depend_on_the_number_of_engines(monkeypatch):
    prompts, found = [prompt(f"p{i}") for i in range(6)], []
    for engines in (1, 4):
        pool, remotes = in_memory_pool(monkeypatch, engines)
        pool.generate(prompts, Sampling(1.0, 1.0, -1, 8), n=2, key="k")
        found.append({r.key: r.seed for remote in remotes for r in remote.requests})
    assert found[0] == found[1]
    seeds = found[0].values()
    assert len(set(seeds)) == 6


@pytest.mark.slow
def test_an_answer_to_another_request_is_refused(monkeypatch):
    pool, (remote,) = in_memory_pool(monkeypatch, 1)
    answer = remote.remote

    class Shuffled:
        def remote(self, requests: Sequence[GenerationRequest], sampling: Sampling) -> Done:
            results, seconds = answer(requests, sampling).value
            return Done((results[::-1], seconds))

    remote.generate = Shuffled()
    pool.roster.mendable = False  # there is no other engine to ask
    with pytest.raises(ActorError, match="engine-0 answered other requests than it was asked"):
        pool.generate([prompt("a"), prompt("b")], Sampling(1.0, 1.0, -1, 8), n=1, key="k")
