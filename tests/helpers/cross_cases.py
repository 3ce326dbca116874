"""Models, prompts and jobs of the cross-sampling tests."""

import functools
import random
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from rlvr.analysis.cross.decoder import MixedSampling, ResponseJob
from rlvr.data.models.tokenizer import BUILTIN_FOLDER, load_tokenizer
from rlvr.data.tasks.arithmetic import held_out, step_by_step, train_problem
from rlvr.data.tasks.build_base import answer_loss
from tests.helpers.models import random_model, save

TOKENIZER = load_tokenizer("builtin")


SAMPLING = MixedSampling(
    temperature=1.0,
    top_p=1.0,
    js_top_p=None,
    max_tokens=48,
    stop_ids=(TOKENIZER.eos_token_id,),
    seed=3,
)


@functools.cache
def base_model():
    """The built-in model."""
    return AutoModelForCausalLM.from_pretrained(BUILTIN_FOLDER).eval()


@functools.cache
def policy_model(steps: int = 25):
    """The built-in model after a few supervised steps towards answers worked step by step."""
    policy = AutoModelForCausalLM.from_pretrained(BUILTIN_FOLDER)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-4)
    rng = random.Random(0)
    for step in range(steps):
        problems = [train_problem(0, step * 16 + i) for i in range(16)]
        loss, count = answer_loss(policy, TOKENIZER, [(p.question, step_by_step(p, rng)) for p in problems])
        optimizer.zero_grad()
        (loss / count).backward()
        optimizer.step()
    return policy.eval()


def save_policy(folder: Path) -> Path:
    """Write the policy with its tokenizer, as a run exports it."""
    return save(policy_model(), folder)


def jobs(problems: int, samples: int, threshold: float) -> list[ResponseJob]:
    """Responses to held-out problems; their prompts differ in length."""
    return [
        ResponseJob(p.id, k, tuple(TOKENIZER(p.question).input_ids), threshold)
        for p in held_out(problems)
        for k in range(samples)
    ]


def tiny(kind: str):
    """A random small model of another architecture."""
    if kind == "llama":
        return random_model("llama", vocab_size=50, hidden_size=32, intermediate_size=64)
    return random_model("gpt2", vocab_size=50, n_embd=32, n_layer=2, n_head=4, n_positions=128)
