"""Given answers: the tokens of a written text instead of sampled ones, the same in every run of a seed."""

from __future__ import annotations

import random
from types import SimpleNamespace

import numpy as np
import pytest

from rlvr.config import Config, RewardConfig
from rlvr.data.tasks.generated import GENERATED
from rlvr.errors import ConfigError
from rlvr.learner.packing import pack
from rlvr.metrics import logprob_mismatch
from rlvr.reward.verdict import Rules
from rlvr.reward.verifiers import load_verifier
from rlvr.rollout.collect import respond
from rlvr.rollout.given import NOT_SAMPLED, build_answers, given_groups
from rlvr.types import Group, Problem, Span
from tests.helpers.composing import compose
from tests.helpers.records import prompt


class Letters:
    """One token a letter; 0 ends a text."""

    eos_token_id = 0

    def encode(self, text: str, add_special_tokens: bool) -> list[int]:
        assert not add_special_tokens
        return [ord(letter) for letter in text]


def write(problem: Problem, numbers: random.Random) -> str:
    """The problem's name and a random number."""
    return f"{problem.id}={numbers.randrange(10**6)}"


def given(key: str = "3.0", seed: int = 1, room: int = 20) -> list[Group]:
    """Two answers to each of two prompts."""
    prompts = [prompt("a"), prompt("b")]
    return given_groups(prompts, write, Letters(), n=2, key=key, seed=seed, max_response_tokens=room)


def test_answers_end_with_the_end_token():
    groups = given()
    assert [g.prompt.id for g in groups] == ["a", "b"]
    for group in groups:
        for sample in group.samples:
            assert sample.token_ids == (*map(ord, sample.text), 0)
            assert not sample.truncated
            assert sample.spans == (Span(NOT_SAMPLED, 0),)
            assert sample.logprobs.tolist() == [0.0] * len(sample.token_ids)
    names = [s.id for g in groups for s in g.samples]
    assert names == ["3.0/a/0", "3.0/a/1", "3.0/b/0", "3.0/b/1"]


def test_the_supervised_control_has_right_answers_for_every_built_in_task():
    write_answer = build_answers(str(compose("recipe=sft").rollout.answers))
    for name, task in GENERATED.items():
        verify = load_verifier(Rules(task.verifier, RewardConfig.policy))
        for index in range(10):
            problem = task.train(1, index)
            answer = write_answer(problem, random.Random(index))
            assert verify(problem.example if verify.reads_row else problem.answer, answer).correct, name


def test_answers_are_a_function_of_key_and_seed():
    def texts(groups: list[Group]) -> list[str]:
        return [s.text for g in groups for s in g.samples]

    assert texts(given()) == texts(given())
    assert len(set(texts(given()))) == 4
    assert texts(given()) != texts(given(key="4.0"))
    assert texts(given()) != texts(given(seed=2))


def test_where_answers_are_given_nothing_is_sampled():
    cfg = Config(recipe="test", seed=1)
    cfg.rollout.answers, cfg.rollout.samples_per_prompt = f"{__name__}:write", 2
    cfg.rollout.max_response_tokens = 20
    found = respond([prompt("a"), prompt("b")], SimpleNamespace(tokenizer=Letters()), cfg, key="3.0")
    assert [s.text for g in found for s in g.samples] == [s.text for g in given() for s in g.samples]


def test_an_answer_that_does_not_fit_is_refused_by_name():
    longest = max(len(s.token_ids) for g in given() for s in g.samples)
    assert given(room=longest)
    with pytest.raises(
        ConfigError, match=r"rollout\.max_response_tokens=3: the given answer to a has \d+ tokens"
    ):
        given(room=3)


def test_given_tokens_are_never_compared_with_the_engine():
    batch = pack(given())
    assert not np.any(batch.weight_version >= 0)
    assert logprob_mismatch(batch, version=0) is None
