"""Stage 7: from one number a sample to one a token, with all that may change it on the way. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from rlvr.advantage.token import token_advantage
from rlvr.advantage.token.contract import TokenPlugin
from rlvr.config import Config
from rlvr.learner.kl_reward import penalised_advantage
from rlvr.learner.teacher import advised_advantage
from rlvr.types import Batch, Group


def shaped_advantage(
    groups: Sequence[Group], batch: Batch, cfg: Config, plugin: TokenPlugin, *, progress: float, seed: int
) -> tuple[tuple[Group, ...], Batch]:
    """Token advantages of a scored batch: the KL penalty where it is in the reward, the plug-in's weights, and the
    teacher's say where it has one. The groups come back with the advantages of their samples.

    Raises:
        ValueError: the batch has not been scored by a model that one of them reads.
    """
    groups, batch = penalised_advantage(groups, batch, cfg)
    batch = token_advantage(batch, plugin, normalize=cfg.advantage.normalize, progress=progress, seed=seed)
    return groups, advised_advantage(batch, cfg.loss)
