r"""What a run will take, before anybody queues for it: `rlvr plan recipe=dapo_divweight_7b_2nodes`.

Reads the model's configuration only (from its folder, the hub or the hub's cache) and starts nothing. Counts of
parameters, samples and tokens are exact; memory of activations and all seconds are estimates for one kind of card.
Sizes are bytes, `N` is the number of parameters.
"""

from __future__ import annotations

from dataclasses import dataclass

from rlvr.cli.entry import hydra_entry
from rlvr.config import Config
from rlvr.errors import ConfigError
from rlvr.learner.causal_lm import read_config
from rlvr.learner.model import WORKSPACE_MB
from rlvr.learner.scoring import needed_signals, needs_base
from rlvr.validate import batch_plan, validate

BYTES = {"float32": 4, "bfloat16": 2}
DUMP_BYTES_PER_TOKEN = 20.0  # id and log-prob as text
LIBRARIES = 2e9  # CUDA, NCCL and cuBLAS on each GPU


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU: memory, and what programs reach of its peak."""

    name: str
    memory: float
    flops: float  # a second, in bf16 matrix products
    bandwidth: float  # bytes a second, of its memory
    network: float  # bytes a second to another GPU, for weights


H100 = Card("H100 80 GB", 80e9, 350e12, 2.5e12, 20e9)


@dataclass(frozen=True, slots=True)
class ModelShape:
    """What the arithmetic needs to know of a model."""

    parameters: int
    vocabulary: int
    hidden: int
    layers: int
    cache_per_token: int  # keys and values of all layers, in numbers


@dataclass(frozen=True, slots=True)
class Ledger:
    """Memory of one process, in bytes, by what takes it."""

    role: str
    parts: tuple[tuple[str, float], ...]

    @property
    def total(self) -> float:
        return sum(size for _, size in self.parts)


@dataclass(frozen=True, slots=True)
class Phase:
    """A phase of a step: seconds if every response has the full length, and the deadline that bounds them."""

    name: str
    seconds: float
    key: str
    deadline: float


def model_shape(cfg: Config) -> ModelShape:
    """Count a model's parameters without loading it.

    Raises:
        ConfigError: its configuration cannot be read, from a folder, the hub or the hub's cache.
    """
    import torch
    from transformers import AutoModelForCausalLM

    from rlvr.data.tokenizer import model_folder

    trust = cfg.model.trust_remote_code
    config = read_config(f"model.path={cfg.model.path}", model_folder(cfg.model.path), trust)
    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=trust)
    except (ValueError, OSError) as error:
        raise ConfigError(
            f"model.path={cfg.model.path}: its configuration cannot be read ({error})"
        ) from error
    text = config.get_text_config(decoder=True)
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return ModelShape(
        parameters=sum(p.numel() for p in model.parameters()),
        vocabulary=text.vocab_size,
        hidden=text.hidden_size,
        layers=text.num_hidden_layers,
        cache_per_token=2 * text.num_hidden_layers * heads * width,
    )


def learner_ledger(cfg: Config, shape: ModelShape, *, base: bool) -> Ledger:
    """Memory of one learner rank at the peak of an update."""
    stage, ranks, size = cfg.learner.zero_stage, cfg.learner.workers, BYTES[cfg.model.dtype]
    n, bf16 = float(shape.parameters), cfg.model.dtype == "bfloat16"

    def share(from_stage: int) -> int:
        return ranks if stage >= from_stage else 1

    # Gradients are added up in fp32; below stage 2 those of one pass stand beside their sum.
    gradients = 4 * n / share(2) + (size * n if bf16 and stage < 2 else 0.0)
    # Sharded or in bf16, DeepSpeed keeps an fp32 copy of the parameters beside Adam's two moments.
    states = (12 if bf16 or stage else 8) * n / share(1)
    if cfg.learner.offload_optimizer != "none" and cfg.learner.gpus_per_worker > 0:
        # They stand in host memory with the sum of the gradients; those of one pass are on their way there.
        states, gradients = 0.0, size * n / share(2)
    per_rank = -(-batch_plan(cfg).samples_per_update // ranks)
    tokens = min(cfg.learner.tokens_per_micro_batch, per_rank * longest_sequence(cfg))
    layer = 16.0 * shape.hidden * tokens * size
    kept = shape.hidden * tokens * size * shape.layers + layer
    head_gradient = 4.0 * shape.vocabulary * shape.hidden
    parts = [
        ("weights", size * n / share(3)),
        ("gradients", gradients),
        ("optimiser", states),
        ("base", size * n / share(3) if base else 0.0),
        ("activations (estimate)", kept if cfg.model.gradient_checkpointing else layer * shape.layers),
        (
            "logits, gradient of the head",
            min(WORKSPACE_MB * 1e6, 8.0 * tokens * shape.vocabulary) + head_gradient,
        ),
    ]
    if cfg.learner.gpus_per_worker > 0:
        parts.append(("libraries (estimate)", LIBRARIES))
    return Ledger(f"learner rank ({ranks})", tuple(parts))


def engine_ledger(cfg: Config, shape: ModelShape, card: Card) -> Ledger:
    """Memory of one tensor-parallel rank of an engine; the KV cache takes what it is allowed to."""
    weights = BYTES[cfg.model.dtype] * shape.parameters / cfg.rollout.tensor_parallel
    if cfg.rollout.kv_cache_mb is not None:
        cache = float(cfg.rollout.kv_cache_mb << 20)
    else:
        cache = max(0.0, cfg.rollout.memory_utilization * card.memory - weights - LIBRARIES)
    ranks = cfg.rollout.engines * cfg.rollout.tensor_parallel
    return Ledger(f"engine rank ({ranks})", (("weights", weights), ("KV cache", cache)))


def concurrent_sequences(cfg: Config, shape: ModelShape, cache: float) -> float:
    """Sequences of full length that the KV cache of one rank of an engine holds; `cache` in bytes."""
    a_token = BYTES[cfg.model.dtype] * shape.cache_per_token / cfg.rollout.tensor_parallel
    return min(float(cfg.rollout.max_concurrent), cache / (a_token * longest_sequence(cfg)))


def longest_sequence(cfg: Config) -> int:
    """Tokens of the longest prompt with the longest response."""
    return min(cfg.model.max_length, cfg.data.max_prompt_tokens + cfg.rollout.max_response_tokens)


def phases(cfg: Config, shape: ModelShape, card: Card, *, base: bool) -> list[Phase]:
    """Estimated seconds of a step's phases on GPUs, every response at its full length."""
    samples = cfg.data.prompts_per_step * cfg.rollout.samples_per_prompt
    sampled = samples * cfg.rollout.max_response_tokens
    tokens = sampled + samples * cfg.data.max_prompt_tokens
    n, size = float(shape.parameters), BYTES[cfg.model.dtype]
    cache = dict(engine_ledger(cfg, shape, card).parts)["KV cache"]
    # Sequences are half as long as at their end, on average, so that twice as many have room together. Each round of
    # the engine reads its weights and what they hold of the cache, and writes one token of each.
    full = max(1.0, concurrent_sequences(cfg, shape, cache))
    together = min(float(cfg.rollout.max_concurrent), 2 * full)
    a_sequence = size * shape.cache_per_token / cfg.rollout.tensor_parallel * longest_sequence(cfg) / 2
    round_seconds = (size * n / cfg.rollout.tensor_parallel + together * a_sequence) / card.bandwidth
    generate = sampled / cfg.rollout.engines / together * round_seconds
    passes = card.flops * cfg.learner.workers
    score = 2 * n * tokens * (2 if base else 1) / passes
    update = (8 if cfg.model.gradient_checkpointing else 6) * n * tokens / passes
    push = size * n / card.network
    return [
        Phase("generate", generate, "rollout.deadline_seconds", cfg.rollout.deadline_seconds),
        Phase("score", score, "learner.deadline_seconds", cfg.learner.deadline_seconds),
        Phase("update", update, "learner.deadline_seconds", cfg.learner.deadline_seconds),
        Phase("push", push, "sync.deadline_seconds", cfg.sync.deadline_seconds),
    ]


def report(cfg: Config, shape: ModelShape, card: Card = H100) -> str:
    """The plan as text.

    Raises:
        ConfigError: the configuration contradicts itself.
    """
    batch, plugin = validate(cfg)
    base = needs_base(needed_signals(plugin, cfg.loss, cfg.tracking.signals))
    samples, on_gpus = batch.samples, cfg.learner.gpus_per_worker > 0
    lines = [
        f"model {cfg.model.path}: {shape.parameters:,} parameters, {shape.layers} layers, "
        f"{shape.vocabulary:,} words",
        str(batch),
        f"tokens a step: at most {samples * cfg.rollout.max_response_tokens:,} sampled",
    ]
    ledgers = [learner_ledger(cfg, shape, base=base), engine_ledger(cfg, shape, card)]
    for ledger in ledgers:
        lines.append(f"{ledger.role}: {_gb(ledger.total)}")
        lines += [f"  {name:32s} {_gb(part)}" for name, part in ledger.parts if part]
        if on_gpus and ledger.total > card.memory:
            lines.append(f"  DOES NOT FIT a {card.name}: {_gb(ledger.total - card.memory)} too much")
    cache = dict(ledgers[1].parts)["KV cache"]
    lines.append(
        f"an engine holds {concurrent_sequences(cfg, shape, cache):.0f} sequences of full length at once"
    )
    if on_gpus:
        lines.append(f"seconds a step on {card.name}, every response at full length (estimates):")
        for phase in phases(cfg, shape, card, base=base):
            late = "  LONGER THAN ITS DEADLINE" if phase.seconds > phase.deadline else ""
            lines.append(f"  {phase.name:10s} {phase.seconds:8.0f} of {phase.key}={phase.deadline:g}{late}")
    states = 12 + BYTES[cfg.model.dtype]
    lines.append(
        f"a checkpoint takes about {_gb(states * shape.parameters)}, a step's samples at most "
        f"{_gb(DUMP_BYTES_PER_TOKEN * samples * cfg.rollout.max_response_tokens)} before compression"
    )
    return "\n".join(lines)


def _gb(size: float) -> str:
    return f"{size / 1e9:.2f} GB"


def show(cfg: Config) -> None:
    """Print the plan of a configuration."""
    print(report(cfg, model_shape(cfg)))


main = hydra_entry(show, command="plan")

if __name__ == "__main__":
    main()
