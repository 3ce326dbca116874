"""Models that keep less for backward, and whether they compute what the plain ones do."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from rlvr.config import LearnerConfig
from rlvr.learner.model.activations import checkpoint_layers
from rlvr.learner.model.policy import PolicyModel, without_chance
from rlvr.learner.model.tiling import (
    tile_feed_forward,
)
from rlvr.learner.packing import micro_batch
from tests.helpers.families import FAMILIES
from tests.helpers.learner_cases import random_batch

DENSE = [name for name, family in FAMILIES.items() if "moe" not in name and name not in ("mixtral", "olmoe")]


def saving(lm: Any, checkpoint: bool = False, **learner: Any) -> Any:
    """A model of transformers that keeps less."""
    cfg = LearnerConfig(**learner)
    if checkpoint:
        checkpoint_layers(lm, cfg, "model.path=mine")
    if cfg.mlp_tile_tokens:
        tile_feed_forward(lm, cfg.mlp_tile_tokens, "model.path=mine")
    return lm


def log_probs_and_gradients(lm: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Of one ragged micro-batch."""
    without_chance(lm)
    policy, batch = PolicyModel(lm.train(), temperature=0.8), random_batch(13, seed=1)
    micro = micro_batch(batch, np.arange(batch.size))
    upstream = torch.randn(len(micro.target), generator=torch.Generator().manual_seed(2))
    logp = policy(micro)
    (logp * upstream).sum().backward()
    return logp.detach(), {n: p.grad.clone() for n, p in lm.named_parameters() if p.grad is not None}


def check_equal(lm: Any, plain: Any) -> None:
    logp, gradients = log_probs_and_gradients(lm)
    expected, wanted = log_probs_and_gradients(plain)
    torch.testing.assert_close(logp, expected, atol=1e-5, rtol=0)
    assert gradients.keys() == wanted.keys()
    for name, gradient in wanted.items():
        assert (gradients[name] - gradient).norm() <= 1e-5 * gradient.norm() + 1e-8, name
