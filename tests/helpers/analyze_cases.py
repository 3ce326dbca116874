"""Small random models, responses to score, and the scores of one token computed the slow, plain way."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from rlvr.analysis.config import AnalyzeConfig, ScoreConfig, TablesConfig
from rlvr.config import ModelConfig
from rlvr.data.models.tokenizer import load_tokenizer
from tests.helpers.models import random_model, save

VOCABULARY = 47  # of the built-in tokenizer
END = 1


def save_model(folder: Path, seed: int, *, hidden: int = 32, vocabulary: int = VOCABULARY) -> Path:
    """A random Qwen2 model with the built-in tokenizer and rather peaked outputs."""
    model = random_model(
        "qwen2",
        seed=seed,
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=48,
        max_position_embeddings=128,
        initializer_range=0.3,
        tie_word_embeddings=False,
        eos_token_id=END,
    )
    return save(model, folder)


def save_shifted(folder: Path, base: Path, seed: int, noise: float) -> Path:
    """A copy of the base with noise on its weights."""
    lm = AutoModelForCausalLM.from_pretrained(base)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in lm.parameters():
            weight += noise * weight.std() * torch.randn(weight.shape, generator=generator)
    return save(lm, folder)


def write_responses(path: Path, seed: int, *, problems: int = 4, samples: int = 3) -> Path:
    """Random responses of 1 to 14 tokens in the format of a run's samples, some of them with a box."""
    rng = np.random.default_rng(seed)
    tokenizer = load_tokenizer("builtin")
    rows = []
    for problem in range(problems):
        question = f"{rng.integers(1, 10)}+{rng.integers(1, 10)}=?"
        for sample in range(samples):
            ids = rng.integers(2, VOCABULARY, size=rng.integers(0, 9)).tolist()
            if rng.random() < 0.6:
                ids += tokenizer.encode(r" so \boxed{7}", add_special_tokens=False)
            rows.append(
                {
                    "sample_id": f"{problem}/{sample}",
                    "problem_id": f"p{problem}",
                    "question": question,
                    "prompt_ids": tokenizer.encode(question, add_special_tokens=False),
                    "response_ids": [*ids, END],
                    "reward": float(rng.integers(0, 2)),
                }
            )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def config(base: Path, policy: Path, output: Path, **keys) -> AnalyzeConfig:
    """An analysis of small parts with few replicates."""
    score = ScoreConfig(responses_per_part=5, tokens_per_micro_batch=64, device="cpu")
    tables = TablesConfig(bootstrap=40, min_count=2, thresholds=[0.001, 0.01, 0.1, 0.3])
    return AnalyzeConfig(
        model=ModelConfig(path=str(policy), base_path=str(base)),
        output=str(output),
        **{"score": score, "tables": tables, **keys},
    )


def next_token_probs(lm: torch.nn.Module, prefix: list[int], temperature: float) -> np.ndarray:
    """[V] in float64, from a forward pass over this one prefix."""
    with torch.no_grad():
        logits = lm(input_ids=torch.tensor([prefix])).logits[0, -1] / temperature
    return torch.softmax(logits, -1).numpy()


def plain_js(p: np.ndarray, q: np.ndarray) -> float:
    """The textbook formula."""
    return (plain_kl(p, (p + q) / 2) + plain_kl(q, (p + q) / 2)) / 2


def plain_kl(p: np.ndarray, q: np.ndarray) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p.tolist(), q.tolist(), strict=True) if a > 0)


def nucleus(p: np.ndarray, share: float) -> np.ndarray:
    """p truncated to its smallest set of at least the share, renormalised."""
    kept, mass = np.zeros_like(p), 0.0
    for token in np.argsort(-p):
        if mass >= share:
            break
        kept[token], mass = p[token], mass + p[token]
    return kept / mass


def plain_scores(p: np.ndarray, q: np.ndarray, token: int, top_p: float) -> dict[str, object]:
    """The columns of one token, from the policy's and the base's probabilities."""
    best_p, best_q = np.argsort(-p), np.argsort(-q)
    return {
        "js": plain_js(p, q),
        "js_top_p": plain_js(nucleus(p, top_p), nucleus(q, top_p)),
        "kl_policy_base": plain_kl(p, q),
        "kl_base_policy": plain_kl(q, p),
        "entropy_policy": -float(p @ np.log(p)),
        "entropy_base": -float(q @ np.log(q)),
        "logp_policy": math.log(p[token]),
        "logp_base": math.log(q[token]),
        "rank_policy": int((p > p[token]).sum()) + 1,
        "rank_base": int((q > q[token]).sum()) + 1,
        "top_policy": int(best_p[0]),
        "top_base": int(best_q[0]),
        "top_policy_rank_base": int((q > q[best_p[0]]).sum()) + 1,
        "top_base_rank_policy": int((p > p[best_q[0]]).sum()) + 1,
        "top_policy_prob_base": float(q[best_p[0]]),
        "top_base_prob_policy": float(p[best_q[0]]),
        **{f"overlap_{k}": len({*best_p[:k]} & {*best_q[:k]}) for k in (1, 2, 3, 5, 10)},
        "policy_ids": best_p[:5].tolist(),
        "policy_probs": p[best_p[:5]].tolist(),
        "base_ids": best_q[:5].tolist(),
        "base_probs": q[best_q[:5]].tolist(),
    }


def with_everything(folder):
    """The configuration of an analysis with a checkpoint and both trajectories; writes what it reads."""
    base = save_model(folder / "base", seed=1)
    near = save_shifted(folder / "near", base, seed=2, noise=0.05)
    far = save_shifted(folder / "far", base, seed=3, noise=0.25)
    files = {
        name: str(write_responses(folder / f"{name}.jsonl", seed, problems=6))
        for name, seed in [("policy", 4), ("base", 5)]
    }
    return config(
        base,
        far,
        folder / "out",
        checkpoints=[str(near)],
        responses=[files["policy"]],
        base_responses=[files["base"]],
    )
