"""Adapters under DeepSpeed: updates as in plain torch for every ZeRO stage, exact resumes, and whole runs with them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from rlvr.advantage.token import token_advantage
from rlvr.config import Config, LoraConfig, ModelConfig
from rlvr.data.models.tokenizer import model_folder
from rlvr.learner.group import LearnerGroup
from rlvr.learner.loss import LossInput, policy_loss
from rlvr.learner.model.adapters import add_adapters, parts_of
from rlvr.learner.model.policy import PolicyModel, load_policy
from rlvr.learner.packing import micro_batch, sequence_weights
from rlvr.train import train
from rlvr.types import Batch
from tests.helpers.composing import compose
from tests.helpers.learner_cases import PLUGIN, config, learner_group, random_batch
from tests.helpers.processes import SMALL, rows

pytestmark = pytest.mark.e2e

STAGES = [(1, 0), (2, 2), (2, 3)]


def lora_config(**learner: object) -> Config:
    cfg = config(updates_per_step=1, lr=1e-2, tokens_per_micro_batch=160, **learner)
    cfg.model.lora = LoraConfig(rank=4, alpha=8.0)
    return cfg


def one_step(group: LearnerGroup, step: int) -> Batch:
    batch = group.score(random_batch(seed=step))
    batch = token_advantage(batch, PLUGIN, normalize=False, progress=0.0, seed=step)
    group.step(batch, seed=step, progress=0.0)
    return batch


def exported(group: LearnerGroup, cfg: Config, folder: Path) -> dict[str, torch.Tensor]:
    group.export(str(folder))
    whole = replace(cfg.model, lora=LoraConfig())
    return {n: p.detach() for n, p in load_policy(whole, str(folder), 1.0).lm.named_parameters()}


def plain(cfg: Config, batches: list[Batch]) -> dict[str, torch.Tensor]:
    """The same updates without DeepSpeed, on whole batches."""
    torch.set_num_threads(1)
    policy = load_policy(cfg.model, model_folder("builtin"), 1.0)
    add_adapters(policy.lm, cfg.model.lora, cfg.seed, key="model.path=builtin")
    trained = [p for p in policy.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=cfg.learner.lr, betas=(0.9, 0.95), weight_decay=0.0)
    for batch in batches:
        rows = np.arange(batch.size)
        weights = sequence_weights(batch, rows, cfg.loss.aggregation, 64)
        micro = micro_batch(batch, rows)
        tokens = LossInput(
            logp=policy(micro),
            old_logp=torch.from_numpy(batch.signals.old_logp),
            advantage=torch.from_numpy(batch.token_advantage),
            loss_weight=torch.from_numpy(weights)[micro.sequence],
            sequence=micro.sequence,
        )
        optimizer.zero_grad()
        policy_loss(tokens, cfg.loss).loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, cfg.learner.max_grad_norm)
        optimizer.step()
    return {part.name: part.merged() for part in parts_of(policy.lm)}


@pytest.mark.usefixtures("shared_ranks")
@pytest.mark.parametrize(("workers", "zero_stage"), STAGES)
def test_updates_equal_plain_torch_and_a_resume(tmp_path: Path, workers: int, zero_stage: int) -> None:
    cfg = lora_config(workers=workers, zero_stage=zero_stage)
    group = learner_group(cfg)
    batches = [one_step(group, 0)]
    group.save(str(tmp_path / "checkpoint"))
    batches.append(one_step(group, 1))
    assert np.abs(batches[0].signals.js_base).max() == 0  # the base is the policy without its adapters
    assert batches[1].signals.js_base.max() > 1e-5
    found = exported(group, cfg, tmp_path / "export")

    start = dict(load_policy(cfg.model, model_folder("builtin"), 1.0).lm.named_parameters())
    expected = plain(cfg, batches)
    assert found.keys() == start.keys() == expected.keys()
    adapted = 0
    for name, value in expected.items():
        # By norm: AdamW turns rounding in a gradient near 0 into a full step of that one entry.
        moved, gap = (value - start[name]).norm().item(), (found[name] - value).norm().item()
        assert gap <= 0.03 * moved + 1e-7, f"{name}: off by {gap:.2e} after moving by {moved:.2e}"
        adapted += moved > 1e-3
    assert adapted >= 7
    assert (tmp_path / "export" / "adapter" / "adapter_model.safetensors").exists()
    sizes = sum(f.stat().st_size for f in (tmp_path / "checkpoint").rglob("*") if f.is_file())
    assert sizes < sum(4 * p.numel() for p in start.values())  # the frozen weights are not in it

    again = learner_group(cfg)
    again.load(str(tmp_path / "checkpoint"))
    one_step(again, 1)
    for name, value in exported(again, cfg, tmp_path / "again").items():
        assert torch.equal(value, found[name]), name  # to the last bit


@pytest.mark.usefixtures("shared_runs")
@pytest.mark.parametrize("way", ["adapter", "merged"])
def test_a_run_goes_on_to_the_last_bit_and_exports_what_it_has_learned(tmp_path: Path, way: str) -> None:
    """The second time engines and learner take turns, which changes no number."""
    arguments = (
        *SMALL,
        *("recipe=dapo_lora", f"sync.lora={way}", "steps=2", "run.save_every=1", "learner.lr=1e-3"),
        *("eval.every=0", "data.eval=[{name:arithmetic_heldout,limit:1}]", "eval.samples_per_prompt=1"),
        *("sync.preflight=false", f"run.root={tmp_path}"),
    )
    train(compose(*arguments, "run.name=whole"))
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    # As a kill leaves it that comes in step 2, after its metrics and before its checkpoint.
    later = shutil.ignore_patterns("step_000002", "policy", "summary.json")
    shutil.copytree(whole, killed, ignore=later)
    train(compose(*arguments, "run.name=killed", "run.resume=auto", "cluster.colocate=true"))
    assert rows(killed) == rows(whole)
    for name in ("model.safetensors", "adapter/adapter_model.safetensors"):
        assert (killed / "policy" / name).read_bytes() == (whole / "policy" / name).read_bytes()

    first, second = (r for r in rows(whole) if r["kind"] == "train")
    base = AutoModelForCausalLM.from_pretrained(model_folder("builtin"))
    adapted = PeftModel.from_pretrained(base, whole / "policy" / "adapter")
    trained = sum(p.numel() for n, p in adapted.named_parameters() if "lora_" in n)
    every = sum(p.numel() for n, p in adapted.named_parameters()) - trained
    assert first["js_base/mean"] == 0  # the base is the policy with its adapters off
    assert second["js_base/mean"] > 0
    for row in (first, second):
        assert row["mismatch/mean"] < 1e-4
        assert row["push/bytes"] == 4 * (trained if way == "adapter" else every)
        assert 0 <= row["token_weight/gini"] < 1
        assert 0 < row["gradient/top1"] <= row["gradient/top5"] <= row["gradient/top20"] <= 1
    batch = random_batch()
    micro = micro_batch(batch, np.arange(batch.size))
    with torch.no_grad():
        theirs = PolicyModel(adapted.base_model.model, 1.0)(micro)
        ours = load_policy(ModelConfig(), str(whole / "policy"), 1.0)(micro)
    torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-5)
