"""The work of a training step done bare: one process, vLLM or transformers generate, plain torch scores and updates."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from benchmarks.prompts import open_stream
from rlvr.config import Config
from rlvr.data.models.tokenizer import load_tokenizer, model_folder
from rlvr.learner.model.policy import PolicyModel
from rlvr.learner.packing import MicroBatch
from rlvr.learner.scoring import score_micro_batch
from rlvr.rollout.collect import training_sampling
from rlvr.rollout.engine import RolloutEngine
from rlvr.rollout.engine_spec import EngineSpec, logprobs_mode
from rlvr.rollout.generation import GenerationRequest
from rlvr.seeding import derived_seed
from rlvr.types import Prompt

Responses = list[tuple[Sequence[int], list[int]]]  # prompt and response tokens


def bare_engine(cfg: Config) -> RolloutEngine:
    """An engine as the run's own, in this process."""
    rollout = cfg.rollout
    return RolloutEngine(
        EngineSpec(
            model=model_folder(cfg.model.path),
            dtype=cfg.model.dtype,
            max_length=cfg.model.max_length,
            tensor_parallel=1,
            device="cpu",
            memory_utilization=rollout.memory_utilization,
            kv_cache_mb=rollout.kv_cache_mb,
            max_concurrent=rollout.max_concurrent,
            enforce_eager=True,
            transfer_backend="rlvr_gloo",
            logprobs_mode=logprobs_mode(rollout.temperature, rollout.top_p, rollout.top_k),
            trust_remote_code=False,
        )
    )


class BareLoop:
    """Generation, scoring with the base's divergence, and updates, on a run's own prompts, seeds and tokens."""

    def __init__(self, cfg: Config) -> None:
        self.cfg = cfg
        self.tokenizer = load_tokenizer(cfg.model.path)
        self.stream = open_stream(cfg, self.tokenizer)
        self.engine = bare_engine(cfg)
        self.policy, self.base = (self._model() for _ in range(2))
        betas = (cfg.learner.betas[0], cfg.learner.betas[1])
        self.optimizer = torch.optim.AdamW(self.policy.parameters(), lr=0.0, betas=betas, weight_decay=0.0)

    def _model(self) -> Any:
        dtype = getattr(torch, self.cfg.model.dtype)
        return AutoModelForCausalLM.from_pretrained(model_folder(self.cfg.model.path), dtype=dtype)

    def prompts(self, step: int) -> Sequence[Prompt]:
        """The prompts of a step."""
        count = self.cfg.data.prompts_per_step
        return self.stream.take((step - 1) * count, count)

    def generate(self, step: int) -> Responses:
        """What the run's engine writes in that step."""
        prompts, seed = self.prompts(step), self.cfg.seed
        requests = [
            GenerationRequest(
                p.id, p.token_ids, self.cfg.rollout.samples_per_prompt, derived_seed(seed, f"{step}.0", p.id)
            )
            for p in prompts
        ]
        answers, _ = self.engine.generate(requests, training_sampling(self.cfg))
        return [
            (p.token_ids, g.token_ids.tolist())
            for p, a in zip(prompts, answers, strict=True)
            for g in a.generations
        ]

    def generate_static(self, step: int) -> int:
        """The same prompts through transformers' generate as one static batch; how many tokens it wrote."""
        prompts, rollout = self.prompts(step), self.cfg.rollout
        pad, end = self.tokenizer.pad_token_id, self.tokenizer.eos_token_id
        width = max(len(p.token_ids) for p in prompts)
        ids = torch.tensor([[pad] * (width - len(p.token_ids)) + list(p.token_ids) for p in prompts])
        lengths = torch.tensor([len(p.token_ids) for p in prompts])[:, None]
        written = self.policy.generate(
            input_ids=ids,
            attention_mask=(torch.arange(width) >= width - lengths).long(),
            do_sample=True,
            temperature=rollout.temperature,
            top_k=0,
            num_return_sequences=rollout.samples_per_prompt,
            max_new_tokens=rollout.max_response_tokens,
            pad_token_id=pad,
            eos_token_id=end,
        )[:, width:]
        ended = (written == end).cumsum(1)
        return int(((ended == 0) | ((ended == 1) & (written == end))).sum())

    def score(self, ids: Tensor, advantage: Tensor) -> tuple[Tensor, Tensor]:
        """Old log-probs [N, L - 1] and weights by the divergence, from full log-softmax tensors."""
        with torch.no_grad():
            p, q = (
                (model(ids).logits[:, :-1] / self.cfg.rollout.temperature).log_softmax(-1)
                for model in (self.policy, self.base)
            )
            middle = torch.logaddexp(p, q) - np.log(2.0)
            js = ((p.exp() * (p - middle)).sum(-1) + (q.exp() * (q - middle)).sum(-1)) / 2
            old = p.gather(2, ids[:, 1:, None])[..., 0]
            return old, (1 + torch.sigmoid(10 * js) - 0.5) * advantage

    def update(self, ids: Tensor, mask: Tensor, old: Tensor, weight: Tensor) -> None:
        """The step's optimiser updates."""
        for part in torch.randperm(len(ids)).chunk(self.cfg.learner.updates_per_step):
            logits = self.policy(ids[part]).logits[:, :-1] / self.cfg.rollout.temperature
            logp = logits.log_softmax(-1).gather(2, ids[part][:, 1:, None])[..., 0]
            ratio = (logp - old[part]).exp()
            gain = torch.minimum(ratio * weight[part], ratio.clamp(0.8, 1.28) * weight[part])
            loss = -(gain * mask[part]).sum() / mask[part].sum()
            self.optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.policy.parameters(), 1.0)
            self.optimizer.step()

    def step(self, step: int) -> dict[str, float]:
        """Seconds of each phase of a step, and its tokens."""
        times = [time.perf_counter()]
        rows = self.generate(step)
        times.append(time.perf_counter())
        ids, mask = padded(rows)
        old, weight = self.score(ids, torch.randn(len(rows), 1))
        times.append(time.perf_counter())
        self.update(ids, mask, old, weight)
        times.append(time.perf_counter())
        phases = [b - a for a, b in itertools.pairwise(times)]
        return {
            **dict(zip(("generate", "score", "update"), phases, strict=True)),
            "step": times[-1] - times[0],
            "tokens": float(sum(len(r) for _, r in rows)),
        }

    def static_rates(self, steps: int) -> dict[str, float]:
        """Tokens a second of the engine and of transformers' static batch, alternately on the same prompts."""
        ours, theirs = [], []
        for step in range(1, steps + 1):
            ours.append(_rate(lambda step=step: sum(len(r) for _, r in self.generate(step))))
            theirs.append(_rate(lambda step=step: self.generate_static(step)))
        return {"engine": statistics.median(ours), "transformers, static batch": statistics.median(theirs)}

    def divergence_share(self, repeats: int) -> dict[str, float]:
        """Seconds of our scoring of response tokens with the divergence, and of the two forward passes alone."""
        ids, mask = padded(self.generate(1))
        row, column = mask.nonzero(as_tuple=True)
        micro = MicroBatch(
            input_ids=ids,
            row=row,
            column=column,
            target=ids[row, column + 1],
            sequence=row,
            token=torch.arange(len(row)),
        )
        temperature = self.cfg.rollout.temperature
        policy, base = (PolicyModel(model, temperature) for model in (self.policy, self.base))
        signals = ("old_logp", "entropy", "js_base")
        two, ours = [], []
        with torch.no_grad():
            for _ in range(repeats + 1):
                two.append(_seconds(lambda: [_logits(model, micro) for model in (policy, base)]))
                ours.append(
                    _seconds(lambda: score_micro_batch(signals, micro, temperature, policy, base, "torch"))
                )
        return {"two forward passes": statistics.median(two[1:]), "scoring": statistics.median(ours[1:])}


def _logits(model: PolicyModel, micro: MicroBatch) -> Tensor:
    """The head's product alone, for the response tokens."""
    product: Tensor = model(micro, lambda hidden, head: hidden @ head.weight.T)
    return product


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _rate(work: Callable[[], int]) -> float:
    began = time.perf_counter()
    tokens = work()
    return tokens / (time.perf_counter() - began)


def padded(rows: Responses) -> tuple[Tensor, Tensor]:
    """Right-padded ids [N, L] and the mask [N, L - 1] of predicted response tokens."""
    width = max(len(p) + len(r) for p, r in rows)
    ids, mask = torch.zeros(len(rows), width, dtype=torch.long), torch.zeros(len(rows), width - 1)
    for i, (p, r) in enumerate(rows):
        ids[i, : len(p) + len(r)] = torch.tensor([*p, *r])
        mask[i, len(p) - 1 : len(p) + len(r) - 1] = 1
    return ids, mask
