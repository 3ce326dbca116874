"""A learner restored from a checkpoint: with settings of its own, and from files that cannot be loaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from rlvr import cluster
from rlvr.advantage.token import token_advantage
from rlvr.config import Config
from rlvr.data.tokenizer import model_folder
from rlvr.errors import CheckpointError
from rlvr.learner.group import LearnerGroup
from rlvr.learner.model import load_policy
from tests.helpers.learner_cases import PLUGIN, config, learner_group, random_batch

pytestmark = pytest.mark.e2e


def update(group: LearnerGroup, cfg: Config, export: Path) -> dict[str, torch.Tensor]:
    """One update, and the parameters after it."""
    batch = token_advantage(group.score(random_batch()), PLUGIN, normalize=False, progress=0.0, seed=0)
    group.step(batch, seed=0, progress=0.0)
    return parameters(group, cfg, export)


def parameters(group: LearnerGroup, cfg: Config, export: Path) -> dict[str, torch.Tensor]:
    group.export(str(export))
    return {n: p.detach().double() for n, p in load_policy(cfg.model, str(export), 1.0).lm.named_parameters()}


@pytest.mark.usefixtures("ray_cluster")
def test_what_a_resumed_run_may_change_acts_after_the_checkpoint(tmp_path: Path) -> None:
    """Adam by hand: a limit so low that the second gradient is nothing leaves the moments of the first.

    With m = b1 (1 - b1) g, v = b2 (1 - b2) g^2 and both bias corrections the second step is the first one times
    [b1 / (1 + b1)] / sqrt(b2 / (1 + b2)); the weights decay by lr times their decay besides.
    """
    cfg = config(zero_stage=2, updates_per_step=1)
    base = load_policy(cfg.model, model_folder("builtin"), 1.0).lm
    start = {n: p.detach().double() for n, p in base.named_parameters()}
    group = learner_group(cfg)
    first = update(group, cfg, tmp_path / "first")
    group.save(str(tmp_path / "checkpoint"))
    cluster.kill(group.handles)

    cfg = config(zero_stage=2, updates_per_step=1, max_grad_norm=1e-9, weight_decay=0.5, lr=2e-4)
    group = learner_group(cfg)
    group.load(str(tmp_path / "checkpoint"))
    second = update(group, cfg, tmp_path / "second")
    ratio = (0.9 / 1.9) / np.sqrt(0.95 / 1.95) * 2e-4 / 3e-4
    compared = 0
    for name, before in start.items():
        moved = first[name] - before
        clear = moved.abs() > 0.99 * 3e-4  # elsewhere Adam's eps is felt
        expected = first[name] * (1 - 2e-4 * 0.5) + ratio * moved
        torch.testing.assert_close(second[name][clear], expected[clear], rtol=0, atol=2e-6)
        compared += int(clear.sum())
    assert compared > 1000

    weights = tmp_path / "checkpoint" / "deepspeed" / "mp_rank_00_model_states.pt"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"loading its weights failed: \w+: "):
        group.load(str(tmp_path / "checkpoint"))
    weights.unlink()
    with pytest.raises(CheckpointError):
        group.load(str(tmp_path / "checkpoint"))
    cluster.kill(group.handles)
