"""Something to compare where a batch has nothing: a few fresh responses, scored by the learner.

With staleness the oldest groups go first, so that often no token of a batch comes from the weights that score it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from rlvr.config import Config
from rlvr.data.stream import PromptStream
from rlvr.learner.group import LearnerGroup
from rlvr.learner.packing import pack
from rlvr.rollout.collect import training_sampling
from rlvr.rollout.sampling import Sampling
from rlvr.types import Batch, Group, Prompt

TOKENS = 32  # of a response


class Ask(Protocol):
    """What samples responses: `EnginePool.generate`, or `EnginePool.ask` for whoever holds the engines."""

    def __call__(self, prompts: Sequence[Prompt], sampling: Sampling, *, n: int, key: str) -> list[Group]: ...


def probe(cfg: Config, ask: Ask, learner: LearnerGroup, stream: PromptStream, name: str) -> Batch:
    """A scored batch that every engine and every rank has a part in, from the weights that both hold now."""
    each = math.ceil(max(cfg.rollout.engines, cfg.learner.workers) / cfg.rollout.engines)
    prompts = stream.take(0, cfg.rollout.engines * each)
    sampling = training_sampling(cfg)
    ends = replace(sampling.ends, min_tokens=min(sampling.ends.min_tokens, TOKENS))
    short = replace(sampling, max_tokens=min(sampling.max_tokens, TOKENS), ends=ends)
    return learner.score(pack(ask(prompts, short, n=1, key=f"{name}.probe")))
