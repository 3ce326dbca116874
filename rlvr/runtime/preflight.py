"""Before the first step: one small batch through every stage at learning rate 0.

Two frameworks' users found engine and learner drifting apart even at lr = 0; here that is an error at start
instead of a wasted run. It leaves no trace in weights, optimiser or data position.
"""

from __future__ import annotations

from collections.abc import Callable

from rlvr.advantage.group import group_advantage
from rlvr.advantage.token import TokenPlugin, token_advantage
from rlvr.config import Config
from rlvr.data.stream import PromptStream
from rlvr.learner.group import LearnerGroup
from rlvr.learner.packing import pack
from rlvr.reward.score import score_groups
from rlvr.reward.workers.pool import GraderPool
from rlvr.rollout.collect import training_sampling
from rlvr.rollout.pool import EnginePool
from rlvr.sync.gate import check_mismatch
from rlvr.types import Batch

PROMPTS = 4


def preflight(
    cfg: Config,
    engines: EnginePool,
    learner: LearnerGroup,
    graders: GraderPool,
    stream: PromptStream,
    plugin: TokenPlugin,
    note: Callable[[str], None],
) -> None:
    """Generate, score, update at lr = 0, push, and do it again: log-probs must agree both times.

    Raises:
        MismatchError: the mean difference is above sync.mismatch_stop before or after the update.
    """

    def scored_batch() -> Batch:
        prompts = stream.take(0, min(PROMPTS, cfg.data.prompts_per_step))
        groups = engines.generate(
            prompts, training_sampling(cfg), n=cfg.rollout.samples_per_prompt, key="preflight"
        )
        scored = score_groups(groups, graders, cfg.reward, cfg.rollout.max_response_tokens)
        return learner.score(pack(group_advantage(scored, cfg.advantage)))

    learner.push(0)
    batch = scored_batch()
    before = check_mismatch(batch, 0, cfg.sync, cfg.model.dtype, note)
    batch = token_advantage(batch, plugin, normalize=cfg.advantage.normalize, progress=0.0, seed=cfg.seed)
    learner.step(batch, seed=cfg.seed, progress=0.0, lr_scale=0.0)
    learner.reset_optimizer()
    learner.push(0)
    after = check_mismatch(scored_batch(), 0, cfg.sync, cfg.model.dtype, note)
    note(
        f"preflight at lr = 0: mean log-prob difference {_shown(before)} before and {_shown(after)} after the update"
    )


def _shown(mismatch: float | None) -> str:
    return "not compared" if mismatch is None else f"{mismatch:.1e}"
