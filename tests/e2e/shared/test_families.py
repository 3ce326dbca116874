"""The families of models that people train, on real engines and learners: what was learnt is pushed and exported."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from rlvr import cluster
from rlvr.advantage.token import token_advantage
from rlvr.config import Config, SyncConfig
from rlvr.data.models.tokenizer import load_tokenizer
from rlvr.data.prompting.templates import tokenize
from rlvr.errors import WeightsError
from rlvr.learner.group import LearnerGroup
from rlvr.learner.packing import pack
from rlvr.rollout.collect import training_sampling
from rlvr.rollout.pool import EnginePool
from rlvr.sync.gate import check_mismatch
from rlvr.types import Batch, Group, Problem, Prompt
from tests.helpers.families import FAMILIES, LONG, Family, make_model
from tests.helpers.faulty_push import leave_out
from tests.helpers.learner_cases import PLUGIN, config, learner_group

pytestmark = pytest.mark.e2e

AGREE = 1e-4  # nats, the mean over tokens
STEPS = 2
QUESTION = "how many seconds are in " + "three and " * 12 + "four minutes"


def settings(family: Family, workers: int, zero_stage: int) -> Config:
    cfg = config(workers=workers, zero_stage=zero_stage, tokens_per_micro_batch=LONG + 100, lr=1e-3)
    cfg.model.attention = family.attention
    cfg.model.max_length = LONG + 100
    cfg.rollout.kv_cache_mb, cfg.rollout.max_concurrent = 16, 16
    cfg.rollout.samples_per_prompt, cfg.rollout.max_response_tokens = 4, 24
    cfg.rollout.temperature = 0.8
    return cfg


def engines(cfg: Config, folder: str) -> EnginePool:
    pool = EnginePool(cfg, folder, load_tokenizer(folder), "cpu")
    pool.ready()
    return pool


def prompts_of(family: Family, folder: str) -> list[Prompt]:
    """Prompts of the family's lengths, or questions in its chat template."""
    tokenizer = load_tokenizer(folder)
    if tokenizer.chat_template:
        problems = [Problem(f"p/{i}", f"{QUESTION} and {i}", "", "p") for i in range(3)]
        return [tokenize(problem, "chat", tokenizer) for problem in problems]
    rng = np.random.default_rng(0)
    return [
        Prompt(Problem(f"p/{i}", "", "", "p"), tuple(rng.integers(3, 30, length).tolist()))
        for i, length in enumerate(family.prompt_tokens)
    ]


def with_advantages(groups: list[Group]) -> Batch:
    """The samples as a batch, with advantages that move every one of them."""
    batch = pack(groups)
    rng = np.random.default_rng(batch.size)
    return replace(batch, advantage=rng.normal(size=batch.size).astype(np.float32))


def train(family: Family, cfg: Config, pool: EnginePool, folder: str) -> tuple[LearnerGroup, list[Batch]]:
    """Two steps, with a push before and after each; the scored samples of the three sets of weights."""
    learner = learner_group(cfg, folder)
    learner.connect(pool.handles)
    prompts, seen = prompts_of(family, folder), []
    for step in range(STEPS + 1):
        learner.push(step)
        groups = pool.generate(prompts, training_sampling(cfg), n=4, key=f"step{step}")
        batch = learner.score(with_advantages(groups))
        seen.append(batch)
        if step < STEPS:
            weighted = token_advantage(batch, PLUGIN, normalize=False, progress=0.0, seed=step)
            learner.step(weighted, seed=step, progress=0.0)
    return learner, seen


def check_ends(family: Family, folder: str, batch: Batch, limit: int) -> None:
    """Every response ends at an end token or at the limit, and has no end token inside."""
    ends = {load_tokenizer(folder).eos_token_id, *family.ends}
    for ids, prompt in zip(batch.input_ids, batch.prompt_lengths, strict=True):
        response = ids[prompt:].tolist()
        assert not ends & set(response[:-1])
        assert len(response) == limit or response[-1] in ends


def own_log_probs(folder: str, attention: str, batch: Batch, temperature: float) -> np.ndarray:
    """What transformers itself makes of the responses, from its own logits in fp32."""
    lm = AutoModelForCausalLM.from_pretrained(folder, attn_implementation=attention).eval()
    found = []
    with torch.no_grad():
        for ids, prompt in zip(batch.input_ids, batch.prompt_lengths, strict=True):
            tokens = torch.from_numpy(ids)
            logits = lm(tokens[None], logits_to_keep=len(ids) - int(prompt) + 1).logits[0, :-1].double()
            logp = torch.log_softmax(logits / temperature, -1)
            found.append(logp.gather(-1, tokens[prompt:, None])[:, 0].numpy())
    return np.concatenate(found)


def lose_one(rank: Any) -> str:
    """Runs in the learner's rank 0."""
    name = rank.weights.infos()[0].name
    leave_out(rank._sender, name)
    return name


def check_that_a_fault_reaches_the_driver(learner: LearnerGroup) -> None:
    """One parameter is sent no more: the very push ends with its name."""
    first: Any = learner.handles[0]
    (lost,) = cluster.wait([first.__ray_call__.remote(lose_one)], deadline_seconds=60, what="fault")
    with pytest.raises(WeightsError, match=f"version {STEPS + 1} .*engine-0: not received {re.escape(lost)}"):
        learner.push(STEPS + 1)


@pytest.mark.usefixtures("shared_ranks", "shared_engines")
@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_learns_and_engines_follow(name: str, tmp_path: Path) -> None:
    family = FAMILIES[name]
    folder = make_model(family, tmp_path / "model")
    exports = []
    for workers, zero_stage in ((1, 0), (2, 3)):
        cfg = settings(family, workers, zero_stage)
        if not exports:
            pool = engines(cfg, folder)
        learner, seen = train(family, cfg, pool, folder)
        for step, batch in enumerate(seen):
            assert check_mismatch(batch, step, SyncConfig(), "float32", pytest.fail) < AGREE, (
                zero_stage,
                step,
            )
            check_ends(family, folder, batch, cfg.rollout.max_response_tokens)
        moved = [float(np.abs(batch.signals.js_base).max()) for batch in seen]
        assert moved[0] == 0.0 < 1e-4 < moved[2], "the policy must have left its base, where it began"
        exports.append(tmp_path / f"export{zero_stage}")
        learner.export(str(exports[-1]))
        load_tokenizer(folder).save_pretrained(exports[-1])
        own = own_log_probs(str(exports[-1]), family.attention, seen[-1], cfg.rollout.temperature)
        np.testing.assert_allclose(own, seen[-1].signals.old_logp, atol=1e-3)
        assert np.abs(own - seen[-1].signals.old_logp).mean() < AGREE

    check_that_a_fault_reaches_the_driver(learner)

    pool = engines(cfg, str(exports[-1]))
    groups = pool.generate(prompts_of(family, folder), training_sampling(cfg), n=4, key="export")
    batch = pack(groups)
    own = own_log_probs(str(exports[-1]), family.attention, batch, cfg.rollout.temperature)
    assert np.abs(own - batch.rollout_logp).mean() < AGREE
    check_ends(family, folder, batch, cfg.rollout.max_response_tokens)
