"""The models of one rank: the policy that is trained, and the base where a signal needs it."""

from __future__ import annotations

from typing import Any

import torch

from rlvr.cluster.board import Doing, report
from rlvr.learner import deepspeed_api
from rlvr.learner.deepspeed_config import deepspeed_config
from rlvr.learner.model.adapters import FrozenBase, add_adapters
from rlvr.learner.model.policy import PolicyModel, load_policy
from rlvr.learner.model.tiling import tiled_modules
from rlvr.learner.model.ulysses import SequenceShards
from rlvr.learner.spec import LearnerSpec


def engine_config(spec: LearnerSpec, *, training: bool) -> dict[str, Any]:
    """What DeepSpeed is given for the policy or (training=False) the base."""
    cfg = spec.cfg
    return deepspeed_config(cfg.learner, cfg.model.dtype, training=training, device=spec.device)


def load_trained(spec: LearnerSpec, shards: SequenceShards) -> PolicyModel:
    """The policy, with the adapters that are trained in its stead where there are any.

    Raises:
        ConfigError: the model or its adapters cannot be used.
    """
    report(Doing("loads the policy"))
    policy = _load(spec, shards, training=True)
    if spec.lora:
        model = spec.cfg.model
        add_adapters(policy.lm, model.lora, spec.cfg.seed, key=f"model.path={model.path}")
    return policy


def load_base(
    spec: LearnerSpec, shards: SequenceShards, policy: PolicyModel, device: torch.device
) -> PolicyModel | FrozenBase:
    """The base on its device: the policy itself with its adapters off, where that is the same model.

    Raises:
        ConfigError: the model cannot be used.
    """
    if spec.lora and spec.base_folder == spec.model_folder:
        return FrozenBase(policy)
    report(Doing("loads the base"))
    base = _load(spec, shards, training=False)
    base.requires_grad_(False).eval()
    if spec.cfg.learner.shards_parameters:
        sharded: PolicyModel = deepspeed_api.DeepSpeedEngine(base, engine_config(spec, training=False)).module
        return sharded
    return base.to(device)


def _load(spec: LearnerSpec, shards: SequenceShards, *, training: bool) -> PolicyModel:
    """The model of a folder, in pieces under ZeRO-3, with its attention over all ranks that share sequences."""
    cfg, sharded = spec.cfg, spec.cfg.learner.shards_parameters
    setting = "path" if training else "base_path"
    key = f"model.{setting}={getattr(cfg.model, setting) or cfg.model.path}"
    found = load_policy(
        cfg.model,
        spec.model_folder if training else spec.base_folder,
        cfg.rollout.temperature,
        learner=cfg.learner,
        zero3=engine_config(spec, training=training) if sharded else None,
        key=key,
    )
    for module in tiled_modules(found.lm) if sharded else ():
        deepspeed_api.gather_at_once(module)  # ranks may have different numbers of tiles
    shards.attend(found.lm, key)
    return found
