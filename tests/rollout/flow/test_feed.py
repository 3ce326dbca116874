"""The prompts of a flow: what was under way first, then the stream by data.sampler."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from rlvr.config import Config
from rlvr.rollout.flow.feed import PromptFeed
from rlvr.types import Prompt, Successes
from tests.helpers.records import group, prompt


class Stream:
    """Six problems, again and again."""

    def take(self, position: int, count: int) -> list[Prompt]:
        return [prompt(f"{i % 6}#{i // 6}" if i >= 6 else str(i)) for i in range(position, position + count)]


def feed(sampler: str, pending: Sequence[int] = (), known: Successes | None = None) -> PromptFeed:
    cfg = Config(recipe="test")
    cfg.data.sampler, cfg.data.sampler_floor, cfg.rollout.samples_per_prompt = sampler, 0.0, 4
    return PromptFeed(Stream(), cfg, position=6, pending=pending, known=known or {})


def test_what_was_under_way_comes_before_the_stream() -> None:
    prompts = feed("uniform", pending=(2, 5))
    assert prompts.waiting == (2, 5)
    assert [prompts.next()[0] for _ in range(4)] == [2, 5, 6, 7]
    assert (prompts.waiting, prompts.position) == ((), 8)
    assert prompts.learn([group("0", [1, 0])]) == 0
    assert prompts.known == {}


@pytest.mark.parametrize("known", [{}, {"1": (4.0, 4.0)}])
def test_a_curriculum_passes_over_what_the_batches_have_shown(known: Successes) -> None:
    prompts = feed("prioritized", known=known)
    assert prompts.learn([group("0", [1, 1, 1, 1]), group("2", [1, 0, 0, 0]), group("3", [0, 0, 0, 0])]) == 0
    seen = [prompts.next()[0] % 6 for _ in range(6)]
    assert {0, 3}.isdisjoint(seen), "solved and hopeless"
    assert (1 in seen) == (not known)
    assert prompts.learn([]) == prompts.position - 6 - len(seen) > 0
    assert prompts.learn([]) == 0
