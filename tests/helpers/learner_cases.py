"""Learner groups on Ray and the batches that they are tried with."""

from __future__ import annotations

import numpy as np
from transformers import AutoConfig

from rlvr.advantage.token import build_plugin
from rlvr.config import ClusterConfig, Config
from rlvr.data.models.tokenizer import model_folder
from rlvr.learner.group import LearnerGroup
from rlvr.learner.scoring import needed_signals
from rlvr.learner.spec import LearnerSpec
from rlvr.types import Batch

PLUGIN = build_plugin("divergence", {"signal": "js_base"})


def config(**learner: object) -> Config:
    cfg = Config(recipe="test", steps=2, cluster=ClusterConfig(threads_per_actor=1))
    cfg.learner.updates_per_step = 2
    cfg.learner.lr = 3e-4
    cfg.learner.start_deadline_seconds = 300
    for name, value in learner.items():
        setattr(cfg.learner, name, value)
    return cfg


def random_batch(sequences: int = 13, seed: int = 0, folder: str = "builtin", shared: bool = False) -> Batch:
    """Ragged sequences of random tokens, one of them outside the loss; four have one prompt if it is shared."""
    rng = np.random.default_rng(seed)
    vocabulary = AutoConfig.from_pretrained(model_folder(folder)).vocab_size
    prompts = rng.integers(3, 9, sequences)
    responses = rng.integers(1, 30, sequences)
    in_loss = np.ones(sequences, dtype=bool)
    in_loss[3] = False
    tokens = int(responses.sum())
    group = np.arange(sequences) // 4
    if shared:
        prompts = prompts[group * 4]
    ids = [rng.integers(3, vocabulary, p + r) for p, r in zip(prompts, responses, strict=True)]
    if shared:
        for i, p in enumerate(prompts):
            ids[i][:p] = ids[group[i] * 4][:p]
    return Batch(
        input_ids=tuple(ids),
        prompt_lengths=prompts,
        response_lengths=responses,
        group_index=group,
        advantage=rng.normal(size=sequences).astype(np.float32),
        reward=rng.integers(0, 2, sequences).astype(np.float32),
        in_loss=in_loss,
        rollout_logp=rng.normal(size=tokens).astype(np.float32),
        weight_version=np.zeros(tokens, dtype=np.int64),
        own_context=np.ones(tokens, dtype=bool),
    )


def learner_group(cfg: Config, folder: str = "builtin") -> LearnerGroup:
    folder = model_folder(folder)
    group = LearnerGroup(LearnerSpec(cfg, folder, folder, needed_signals(PLUGIN, cfg.loss), PLUGIN, "cpu"))
    group.ready()
    return group
