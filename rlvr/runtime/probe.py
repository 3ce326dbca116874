"""Something to compare where a batch has nothing: a few fresh responses, scored by the learner.

With staleness the oldest groups go first, so that often no token of a batch comes from the weights that score it.
"""

from __future__ import annotations

import math
from dataclasses import replace

from rlvr.config import Config
from rlvr.data.stream import PromptStream
from rlvr.learner.group import LearnerGroup
from rlvr.learner.packing import pack
from rlvr.rollout.collect import training_sampling
from rlvr.rollout.pool import EnginePool
from rlvr.types import Batch

TOKENS = 32  # of a response


def probe(cfg: Config, engines: EnginePool, learner: LearnerGroup, stream: PromptStream, step: int) -> Batch:
    """A scored batch that every engine and every rank has a part in, from the weights that both hold now."""
    each = math.ceil(max(cfg.rollout.engines, cfg.learner.workers) / cfg.rollout.engines)
    prompts = stream.take(0, cfg.rollout.engines * each)
    sampling = training_sampling(cfg)
    ends = replace(sampling.ends, min_tokens=min(sampling.ends.min_tokens, TOKENS))
    short = replace(sampling, max_tokens=min(sampling.max_tokens, TOKENS), ends=ends)
    return learner.score(pack(engines.generate(prompts, short, n=1, key=f"{step}.probe")))
