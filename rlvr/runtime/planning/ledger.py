"""Memory by process, in bytes: exact for parameters and states, estimates where a part says so.

`N` is the number of parameters. States follow DeepSpeed's own estimators (`estimate_zero2_model_states_mem_needs`,
`estimate_zero3_model_states_mem_needs`), which a test compares with.
"""

from __future__ import annotations

from dataclasses import dataclass

from rlvr.cluster.limits import usable_memory
from rlvr.config import Config
from rlvr.learner.model.activations import ATTENTION
from rlvr.learner.model.policy import WORKSPACE_MB
from rlvr.learner.optimizers import EIGHT_BIT, MUON
from rlvr.runtime.planning.cards import Card
from rlvr.runtime.planning.shape import ModelShape, frozen_is_base, matrix_parameters, trained_parameters
from rlvr.runtime.planning.sharing import computed_tokens
from rlvr.sync.adapter import room_for, sends_adapter
from rlvr.sync.sender import sends_changes
from rlvr.validate.batch import batch_plan

BYTES = {"float32": 4, "bfloat16": 2}
COPY = "copy of the last push"
LIBRARIES = 2e9  # CUDA, NCCL and cuBLAS of a process on a GPU: an estimate
CPU_PASS_TOKENS = 4096  # that vLLM computes together on CPU, at the most; or one whole prompt
# On CPU, measured with one and two threads: the libraries of a process, without what depends on the model.
ENGINE_PROCESS, LEARNER_PROCESS = 0.72e9, 0.46e9


@dataclass(frozen=True, slots=True)
class Ledger:
    """Memory that must be there together, by what takes it."""

    role: str
    parts: tuple[tuple[str, float], ...]

    @property
    def total(self) -> float:
        """Bytes."""
        return sum(size for _, size in self.parts)


def on_gpus(cfg: Config) -> bool:
    """Whether the learner runs on GPUs."""
    return cfg.learner.gpus_per_worker > 0


def offloads(cfg: Config) -> bool:
    """Whether the optimiser's states live in host memory for good."""
    return cfg.learner.offload_optimizer != "none"


def longest_sequence(cfg: Config) -> int:
    """Tokens of the longest prompt with the longest response."""
    return min(cfg.model.max_length, cfg.data.max_prompt_tokens + cfg.rollout.max_response_tokens)


def micro_batch_tokens(cfg: Config) -> int:
    """Padded tokens of the largest micro-batch, of a rank or of those that share it, every sequence at full length."""
    longest, budget = longest_sequence(cfg), cfg.learner.tokens_per_micro_batch
    per_rank = -(-batch_plan(cfg).samples_per_update // cfg.learner.data_parallel)
    return min(max(1, budget // longest), per_rank) * longest


@dataclass(frozen=True, slots=True)
class States:
    """Bytes of one rank that last from step to step."""

    weights: float
    gradients: float  # of one pass, and their sum
    in_passing: float  # the former alone
    optimiser: float  # fp32 copy of the parameters where there is one, and the optimiser's moments
    base: float

    @property
    def total(self) -> float:
        """Bytes."""
        return self.weights + self.gradients + self.optimiser + self.base


def moments(cfg: Config, trained: float, matrices: float) -> float:
    """Bytes of the optimiser's moments, which are fp32 unless they have 8 bits; Muon has one for `matrices` of them."""
    if cfg.learner.optimizer == EIGHT_BIT:
        return 2 * trained
    return 8 * trained - (4 * matrices if cfg.learner.optimizer == MUON else 0.0)


def states(
    cfg: Config, policy: float, base: float, trained: float | None = None, matrices: float = 0.0
) -> States:
    """Of one rank, for models of so many parameters, of the policy's `trained` (None: all); no base: 0.

    `matrices` of the trained ones lie between embedding and head.
    """
    trained = policy if trained is None else trained
    stage, size = cfg.learner.zero_stage, BYTES[cfg.model.dtype]
    bf16 = cfg.model.dtype == "bfloat16"

    def share(from_stage: int) -> int:
        return _ranks_from(cfg, from_stage)

    # Gradients are added up in fp32; below stage 3 those of one pass stand beside their sum.
    in_passing = size * trained / share(2)
    gradients = 4 * trained / share(2) + (in_passing if bf16 and stage < 3 else 0.0)
    # Sharded or in bf16, DeepSpeed keeps an fp32 copy of the parameters beside the moments.
    copied = 4 * trained if bf16 or stage else 0.0
    optimiser = (copied + moments(cfg, trained, matrices)) / share(1)
    return States(size * policy / share(3), gradients, in_passing, optimiser, size * base / share(3))


def _ranks_from(cfg: Config, stage: int) -> int:
    """Over how many ranks ZeRO shards what it shards from this stage on."""
    return cfg.learner.workers if cfg.learner.zero_stage >= stage else 1


def fullest(cfg: Config, shape: ModelShape) -> list[tuple[str, float]]:
    """`passing` of the largest micro-batch."""
    tokens = micro_batch_tokens(cfg)
    return passing(cfg, shape, tokens, samples=tokens // longest_sequence(cfg))


def passing(cfg: Config, shape: ModelShape, tokens: int, *, samples: int = 1) -> list[tuple[str, float]]:
    """What a pass over a micro-batch of so many tokens in all takes of a rank, on top of the states."""
    size, tokens = BYTES[cfg.model.dtype], -(-tokens // cfg.learner.sequence_parallel)
    answers = tokens * cfg.rollout.max_response_tokens / longest_sequence(cfg)
    logits = min(WORKSPACE_MB * 1e6, 8.0 * answers * shape.vocabulary)
    computed, shared = computed_tokens(cfg, tokens, samples)
    held = 2.0 * shape.cache_per_token * shared  # by sample, and joined with those of the response
    return [
        ("activations (estimate)", size * (activations(cfg, shape, computed) + held)),
        (
            "logits, gradient of the head",
            logits + (0.0 if cfg.model.lora.rank else 4.0 * shape.vocabulary * shape.hidden),
        ),
    ]


def activations(cfg: Config, shape: ModelShape, tokens: float) -> float:
    """Numbers that a rank keeps of so many tokens for backward, and holds of the layer under way: an estimate."""
    tile = cfg.learner.mlp_tile_tokens or tokens
    layer, mlp = shape.saved_per_token * tokens, shape.mlp_per_token * tokens
    under_way = shape.mlp_per_token * tile if tile < tokens else 0.0  # of a tile that is computed again
    if under_way:
        layer -= mlp
    again = checkpointed_layers(cfg, shape)
    kept = shape.hidden * tokens * (2 if cfg.learner.checkpoint_keep == ATTENTION else 1)
    return again * kept + (shape.layers - again + (again > 0)) * layer + under_way


def checkpointed_layers(cfg: Config, shape: ModelShape) -> int:
    """Layers that are computed again in backward."""
    return -(-shape.layers // cfg.learner.checkpoint_every) if cfg.model.gradient_checkpointing else 0


def learner_ledger(cfg: Config, shape: ModelShape, *, base: bool) -> Ledger:
    """Memory of one learner rank at the peak of an update: on its GPU, or of its process on CPU."""
    held = states(
        cfg,
        shape.parameters,
        shape.parameters if base and not frozen_is_base(cfg) else 0,
        trained_parameters(cfg, shape),
        matrix_parameters(cfg, shape),
    )
    away = offloads(cfg) and on_gpus(cfg)
    parts = [
        ("weights", held.weights),
        ("gradients", held.in_passing if away else held.gradients),
        ("optimiser", 0.0 if away else held.optimiser),
        ("base", held.base),
        *fullest(cfg, shape),
        ("libraries (estimate)", LIBRARIES) if on_gpus(cfg) else ("process", LEARNER_PROCESS),
    ]
    if not on_gpus(cfg) and sends_changes(cfg, "cpu"):  # rank 0 alone
        parts.append((COPY, BYTES[cfg.model.dtype] * shape.parameters))
    return Ledger(f"learner rank ({cfg.learner.workers})", tuple(parts))


def adapter_parts(cfg: Config, shape: ModelShape) -> list[tuple[str, float]]:
    """What adapters that are sent alone take of an engine: the one in use, with vLLM's room, and the one that comes."""
    rank, size = cfg.model.lora.rank, BYTES[cfg.model.dtype]
    one = size * trained_parameters(cfg, shape)
    parts = [("adapters (estimate)", one * room_for(rank) / rank + 2 * one)]
    if cfg.rollout.gpus_per_engine == 0:
        # vLLM's way on CPU: a copy of the adapter of a module for every token of a pass.
        widest = max(shape.hidden, shape.intermediate or 4 * shape.hidden)
        prompts = cfg.rollout.max_concurrent * cfg.data.max_prompt_tokens
        tokens = min(max(CPU_PASS_TOKENS, cfg.model.max_length), prompts)
        parts.append(("adapter by token (estimate)", size * tokens * room_for(rank) * widest))
    return parts


def engine_ledger(cfg: Config, shape: ModelShape, card: Card) -> Ledger:
    """Memory of one tensor-parallel rank of an engine; the KV cache takes what it is allowed to."""
    size = BYTES[cfg.model.dtype]
    weights = size * shape.parameters / cfg.rollout.tensor_parallel
    gpus = cfg.rollout.gpus_per_engine > 0
    if cfg.rollout.kv_cache_mb is not None:
        cache = float(cfg.rollout.kv_cache_mb << 20)
    else:
        taken = weights + LIBRARIES if gpus else weights + ENGINE_PROCESS
        memory = card.memory if gpus else usable_memory().total
        cache = max(0.0, cfg.rollout.memory_utilization * memory - taken)
    sampled = cfg.rollout.max_concurrent * shape.vocabulary * 4.0
    parts = [("weights", weights), ("KV cache", cache), ("logits of a round (estimate)", 2 * sampled)]
    if gpus:
        parts.append(("libraries (estimate)", LIBRARIES))
    else:  # vLLM repacks matrices for its kernels there; of a tied head it holds both forms
        parts += [
            ("packed head", size * shape.vocabulary * shape.hidden if shape.tied else 0.0),
            ("process", ENGINE_PROCESS),
        ]
        if not sends_adapter(cfg):  # new weights arrive beside the packed ones, a bucket at a time
            bucket = min(weights, float(cfg.sync.bucket_mb << 20))
            parts.append(("weights of a push (estimate)", weights + bucket))
        if sends_changes(cfg, "cpu"):  # every rank gets, and holds, all of it
            parts.append((COPY, size * shape.parameters))
    if sends_adapter(cfg):
        parts += adapter_parts(cfg, shape)
    ranks = cfg.rollout.engines * cfg.rollout.tensor_parallel
    return Ledger(f"engine rank ({ranks})", tuple(parts))


def shared_ledgers(cfg: Config, shape: ModelShape, card: Card, *, base: bool) -> list[Ledger]:
    """Memory of one GPU in each of the turns that an engine and a learner rank take on it."""
    learner, engine = learner_ledger(cfg, shape, base=base), engine_ledger(cfg, shape, card)
    weights = BYTES[cfg.model.dtype] * shape.parameters
    bucket = 2.0 * (cfg.sync.bucket_mb << 20)
    other = ("libraries of the other (estimate)", LIBRARIES)
    return [
        Ledger("GPU in the learner's turn", (*learner.parts, other)),
        Ledger(
            "GPU while weights travel",
            (
                ("learner's weights", weights),
                ("engine's weights", weights),
                ("buckets", bucket),
                ("libraries of both (estimate)", 2 * LIBRARIES),
            ),
        ),
        Ledger("GPU in the engine's turn", (*engine.parts, other)),
    ]


def ledgers(cfg: Config, shape: ModelShape, card: Card, *, base: bool) -> list[Ledger]:
    """Every kind of process of a run, or every turn of a shared GPU."""
    if cfg.cluster.colocate and on_gpus(cfg):
        return shared_ledgers(cfg, shape, card, base=base)
    return [learner_ledger(cfg, shape, base=base), engine_ledger(cfg, shape, card)]


def host_states(cfg: Config, policy: float, base: float, trained: float | None = None) -> float:
    """Bytes of host memory that one learner rank and its engine hold on top of their processes, on GPUs.

    Offloaded optimiser states and the sum of the gradients; where GPUs are shared, all that the learner puts away while
    the engine generates, and at sleep level 1 the engine's weights while the learner works.
    """
    if not on_gpus(cfg):
        return 0.0
    held = states(cfg, policy, base, trained)
    size = (
        held.optimiser + 4 * (policy if trained is None else trained) / _ranks_from(cfg, 2)
        if offloads(cfg)
        else 0.0
    )
    if cfg.cluster.colocate:
        asleep = BYTES[cfg.model.dtype] * policy if cfg.cluster.sleep_level == 1 else 0.0
        size = held.total + asleep
    return size


def copies(cfg: Config, policy: float) -> float:
    """Bytes of host memory that a run takes for copies of the last push: of rank 0, and of every engine's worker."""
    if not sends_changes(cfg, "cuda" if on_gpus(cfg) else "cpu"):
        return 0.0
    return (1 + cfg.rollout.engines * cfg.rollout.tensor_parallel) * BYTES[cfg.model.dtype] * policy


def largest_sequence(cfg: Config, shape: ModelShape, card: Card, *, base: bool) -> int:
    """Tokens of the longest sequence that a learner rank could train on alone in a micro-batch; 0: none fits."""
    rest = sum(size for name, size in learner_ledger(cfg, shape, base=base).parts) - sum(
        size for _, size in fullest(cfg, shape)
    )
    room, low, high = card.memory - rest, 0, 1 << 22
    while low < high:
        middle = (low + high + 1) // 2
        if sum(size for _, size in passing(cfg, shape, middle)) <= room:
            low = middle
        else:
            high = middle - 1
    return low
