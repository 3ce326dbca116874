"""A learner restored from a checkpoint: to the last bit, with settings of its own, and from files that are damaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rlvr import cluster
from rlvr.advantage.token import token_advantage
from rlvr.cli.export import export
from rlvr.config import Config, LoraConfig
from rlvr.data.models.identity import identities, identity
from rlvr.data.models.tokenizer import model_folder
from rlvr.errors import CheckpointError
from rlvr.learner.group import LearnerGroup
from rlvr.learner.model.policy import load_policy
from rlvr.runtime.checkpoints.checkpoint import TrainingState, save_checkpoint
from rlvr.runtime.disk.folder import RunFolder
from tests.helpers.learner_cases import PLUGIN, config, learner_group, random_batch
from tests.helpers.models import tied_model

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


# What must survive: an optimiser's states, whole, in shards or in host memory; adapters; the weight of the bonus.
CASES: dict[str, dict[str, Any]] = {
    "shards": {"learner": {"workers": 2, "zero_stage": 3}},
    "offloaded": {"learner": {"zero_stage": 2, "offload_optimizer": "cpu"}},
    "muon": {"learner": {"optimizer": "muon"}},
    "adapters": {"model": {"lora": LoraConfig(rank=4, alpha=8.0)}},
    "entropy target": {"loss": {"entropy_coef": 0.01, "entropy_target": 9.0, "entropy_step": 0.05}},
    "shared sequences": {
        "model": {"gradient_checkpointing": True},
        "learner": {
            "workers": 2,
            "sequence_parallel": 2,
            "zero_stage": 1,
            "checkpoint_every": 2,
            "checkpoint_keep": "attention",
            "mlp_tile_tokens": 24,
        },
    },
}


def steps(group: LearnerGroup, numbers: Sequence[int]) -> list[dict[str, float | None]]:
    """What these steps of a run report."""
    found = []
    for number in numbers:
        batch = group.score(random_batch(seed=number))
        batch = token_advantage(batch, PLUGIN, normalize=False, progress=0.0, seed=number)
        found.append(asdict(group.step(batch, seed=number, progress=0.0)))
    return found


@pytest.mark.usefixtures("shared_ranks")
@pytest.mark.parametrize("case", CASES)
def test_a_resumed_learner_goes_on_to_the_last_bit(tmp_path: Path, case: str) -> None:
    cfg = config()
    for section, values in CASES[case].items():
        for name, value in values.items():
            setattr(getattr(cfg, section), name, value)
    group = learner_group(cfg)
    steps(group, [0])
    group.save(str(tmp_path / "checkpoint"))
    expected = steps(group, [1, 2])
    group.export(str(tmp_path / "straight"))
    if case == "entropy target":  # so much more a step
        assert [report["entropy_coef"] for report in expected] == pytest.approx([0.06, 0.11])

    again = learner_group(cfg)
    again.load(str(tmp_path / "checkpoint"))
    assert steps(again, [1, 2]) == expected
    again.export(str(tmp_path / "resumed"))
    weights = [(tmp_path / way / "model.safetensors").read_bytes() for way in ("straight", "resumed")]
    assert weights[0] == weights[1]


@pytest.mark.usefixtures("shared_ranks")
@pytest.mark.parametrize("case", ["float32", "bfloat16", "adapters"])
def test_a_checkpoint_in_shards_is_exported_as_the_ranks_export_it(tmp_path: Path, case: str) -> None:
    """Without its ranks; the head is the embedding, which DeepSpeed's files name twice."""
    cfg = config(workers=2, zero_stage=3)
    cfg.model.path = tied_model(tmp_path / "model", "qwen2")
    if case == "adapters":
        cfg.model.lora = LoraConfig(rank=4, alpha=8.0)
    else:
        cfg.model.dtype = case
    group = learner_group(cfg, cfg.model.path)
    steps(group, [0])
    folder = RunFolder(tmp_path, "mine")
    folder.create(cfg)
    models = identities(cfg.model)
    checkpoint = save_checkpoint(folder, TrainingState(1, 4, 9, 0.0, 1.0, {}, models=models), cfg, group.save)
    group.export(str(tmp_path / "ranks"))
    found = export(checkpoint, tmp_path / "out")
    weights = [(way / "model.safetensors").read_bytes() for way in (found, tmp_path / "ranks")]
    assert weights[0] == weights[1] != (Path(cfg.model.path) / "model.safetensors").read_bytes()
    assert len(identity(str(checkpoint))) == 2

    shard = next((checkpoint / "deepspeed").glob("*rank_1_*_optim_states.pt"))
    shard.unlink()
    with pytest.raises(CheckpointError, match=shard.name):
        export(checkpoint, tmp_path / "again")
