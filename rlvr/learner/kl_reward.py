"""The KL penalty inside the reward: what the policy's distance from its base costs before advantages are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from rlvr.advantage.group import group_advantage
from rlvr.config import Config
from rlvr.learner.loss import IN_REWARD, KL_ESTIMATORS
from rlvr.types import Batch, Group


def penalised_advantage(
    groups: Sequence[Group], batch: Batch, cfg: Config
) -> tuple[tuple[Group, ...], Batch]:
    """Advantages from r_i - kl_coef sum_t kl_t instead of r_i, kl_t the estimate of KL(policy || base) at a token of
    the response (InstructGPT, arXiv 2203.02155, eq. 2, as a sum over tokens); as they are unless loss.kl_in=reward.

    The policy is the one that starts the step. Rewards stay what the verifier gave.

    Raises:
        ValueError: the batch has not been scored by policy and base.
    """
    if cfg.loss.kl_in != IN_REWARD:
        return tuple(groups), batch
    penalties = iter(cfg.loss.kl_coef * sequence_kl(batch, cfg.loss.kl))
    charged = [
        replace(
            group,
            samples=tuple(replace(s, reward=s.reward - float(next(penalties))) for s in group.samples),
        )
        for group in groups
    ]
    advantages = [[s.advantage for s in g.samples] for g in group_advantage(charged, cfg.advantage)]
    found = tuple(
        replace(
            group,
            samples=tuple(replace(s, advantage=a) for s, a in zip(group.samples, own, strict=True)),
        )
        for group, own in zip(groups, advantages, strict=True)
    )
    return found, replace(batch, advantage=np.concatenate(advantages).astype(np.float32))


def sequence_kl(batch: Batch, kind: str) -> np.ndarray:
    """[N] the estimate of KL(policy || base), summed over the tokens of each response, in nats."""
    old, base = batch.signals.old_logp, batch.signals.base_logp
    if old is None or base is None:
        raise ValueError("loss.kl_in=reward needs the log-probs of policy and base of the batch")
    estimates = KL_ESTIMATORS[kind](torch.from_numpy(old) - torch.from_numpy(base)).double().numpy()
    return np.bincount(batch.sequence_of_token, estimates, minlength=batch.size).astype(np.float64)
