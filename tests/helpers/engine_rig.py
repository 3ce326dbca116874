"""One real engine beside the model that it runs: what it is asked, and what its answers are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import LlamaForCausalLM

from rlvr import cluster
from rlvr.data.models.tokenizer import load_tokenizer
from rlvr.learner.packing import pack
from rlvr.rollout.engine import RolloutEngine
from rlvr.rollout.engine_spec import EngineSpec
from rlvr.rollout.generation import Generation, GenerationRequest, GenerationResult, Slice
from rlvr.rollout.sampling import Sampling
from rlvr.rollout.stepping import Request
from rlvr.types import Batch, Group, Problem, Prompt, Sample, TokenSignals
from tests.helpers.models import random_model, save
from tests.helpers.shared_processes import SharedProcesses

WHOLE, VOCABULARY = (1.0, -1), 32  # no truncation; of the built-in tokenizer


def small_llama(folder: Path, context: int) -> LlamaForCausalLM:
    """A random model with a tied head and the built-in tokenizer, saved in the folder."""
    tokenizer = load_tokenizer("builtin")
    model = random_model(
        "llama",
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        max_position_embeddings=context,
        tie_word_embeddings=True,
        initializer_range=0.25,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    save(model, folder)
    return model


def start_engine(processes: SharedProcesses, spec: EngineSpec) -> Any:
    """The engine in its actor, once it can generate."""
    placement = cluster.Placement(
        name="engine-0", gpus=0, threads=1, env={"VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    )
    engine = processes.spawn(RolloutEngine, placement, spec)
    cluster.wait([engine.ready.remote()], deadline_seconds=300, what="start of the engine")
    return engine


@dataclass
class Rig:
    """One engine and the model that it runs, in float64."""

    engine: Any
    model: LlamaForCausalLM

    def generate(self, requests: Sequence[GenerationRequest], sampling: Sampling) -> list[GenerationResult]:
        ref = self.engine.generate.remote(list(requests), sampling)
        (answer,) = cluster.wait([ref], deadline_seconds=300, what="generation")
        return answer[0]

    def preemptions(self) -> int:
        """How often requests have lost their place in the KV cache since the first call of this."""

        def count(engine: Any) -> int:  # runs in the actor
            scheduler = engine._llm.llm_engine.engine_core.engine_core.scheduler
            if not hasattr(engine, "preempted"):
                engine.preempted, preempt = [], scheduler._preempt_request

                def counted(*args: Any, **kwargs: Any) -> Any:
                    engine.preempted.append(args)
                    return preempt(*args, **kwargs)

                scheduler._preempt_request = counted
            return len(engine.preempted)

        return self.inside(count)

    def inside(self, function: Any) -> Any:
        """What a function of the engine returns, called in its actor."""
        (found,) = cluster.wait([self.engine.__ray_call__.remote(function)], deadline_seconds=60, what="call")
        return found

    def in_worker(self, function: Any, *arguments: Any) -> None:
        """Call a function of vLLM's worker there."""
        self.inside(lambda engine: engine._llm.collective_rpc(function, args=arguments) and None)

    def advance(self, requests: Sequence[Request], seconds: float) -> Slice:
        """One slice at temperature 1."""
        sampling = Sampling(1.0, *WHOLE, max_tokens=80)
        ref = self.engine.advance.remote(list(requests), [], sampling, seconds)
        return cluster.wait([ref], deadline_seconds=300, what="slice")[0]

    def finish(self, found: dict[str, Generation]) -> dict[str, Generation]:
        """All that runs, to its end."""
        while (slice_ := self.advance([], 60)).running or slice_.finished:
            found |= dict(slice_.finished)
        return found


def requests_of(lengths: Sequence[int], samples: int = 2) -> list[GenerationRequest]:
    """Prompts of random tokens."""
    rng = np.random.default_rng(0)
    return [
        GenerationRequest(f"p{i}", tuple(rng.integers(3, VOCABULARY, length).tolist()), samples, seed=100 * i)
        for i, length in enumerate(lengths)
    ]


def batch_of(requests: Sequence[GenerationRequest], results: Sequence[GenerationResult]) -> Batch:
    """The responses as the learner gets them."""
    return pack(
        [
            Group(
                Prompt(Problem(request.key, "", "", "test"), request.prompt_ids),
                tuple(
                    Sample(
                        f"{request.key}/{i}",
                        tuple(g.token_ids.tolist()),
                        g.logprobs,
                        "",
                        g.truncated,
                        g.spans,
                    )
                    for i, g in enumerate(result.generations)
                ),
            )
            for request, result in zip(requests, results, strict=True)
        ]
    )


@torch.no_grad()
def log_probs(model: LlamaForCausalLM, batch: Batch, temperature: float) -> list[torch.Tensor]:
    """[response length, vocabulary] of every sequence, plainly computed."""
    found = []
    for ids, prompt in zip(batch.input_ids, batch.prompt_lengths, strict=True):
        logits = model(torch.from_numpy(ids)[None], logits_to_keep=len(ids) - int(prompt) + 1).logits[0, :-1]
        found.append(torch.log_softmax(logits / temperature, -1))
    return found


def scored(batch: Batch, rows: list[torch.Tensor]) -> Batch:
    """The batch with the log-probs of its tokens."""
    tokens = [
        row.gather(-1, torch.from_numpy(ids[prompt:])[:, None])[:, 0].float().numpy()
        for row, ids, prompt in zip(rows, batch.input_ids, batch.prompt_lengths, strict=True)
    ]
    return replace(batch, signals=TokenSignals(old_logp=np.concatenate(tokens)))


def in_flight(rig: Rig) -> tuple[list[Request], dict[str, Generation]]:
    """Requests of which some are in the middle of a response, and those that are finished already."""
    prompts = requests_of([6, 9, 17, 30], samples=1)
    requests = [Request(f"{p.key}/{i}", p.prompt_ids, p.seed + i) for p in prompts for i in range(4)]
    first = rig.advance(requests, 60)  # until the first one ends
    assert first.running > 8
    return requests, dict(first.finished)


def token_log_probs(model: LlamaForCausalLM, prompt: Sequence[int], response: np.ndarray) -> np.ndarray:
    """[response length] of the model, plainly computed."""
    ids = torch.tensor([[*prompt, *response.tolist()]])
    with torch.no_grad():
        rows = torch.log_softmax(model(ids).logits[0, len(prompt) - 1 : -1], -1)
    return rows.gather(-1, ids[0, len(prompt) :, None])[:, 0].numpy()


def crossed(
    requests: Sequence[Request],
    found: dict[str, Generation],
    old: LlamaForCausalLM,
    new: LlamaForCausalLM,
    before: int,
    mode: str,
) -> int:
    """How many responses have tokens of version `before` and of the next; each has those models' log-probs.

    With kept keys and values the tokens after the change have the log-probs of neither.
    """
    assert found.keys() == {r.key for r in requests}
    count = 0
    for request in requests:
        own = found[request.key]
        assert [span.version for span in own.spans] in ([before], [before, before + 1])
        own_model = token_log_probs(old, request.prompt_ids, own.token_ids)
        start = own.spans[-1].start if len(own.spans) == 2 else len(own.token_ids)
        np.testing.assert_allclose(own.logprobs[:start], own_model[:start], atol=1e-4)
        if len(own.spans) == 1:
            continue
        count += 1
        new_model = token_log_probs(new, request.prompt_ids, own.token_ids)
        gap = np.abs(own.logprobs[start:] - new_model[start:]).max()
        assert (gap < 1e-4) == own.spans[-1].own_context == (mode == "recompute"), (mode, gap)
    return count
