"""Which actors fit on which GPUs: a pure decision, made before anything is started.

A part is what must lie on one node: an engine with all its tensor-parallel ranks, or one rank of the learner. Ray
reserves each as one bundle of a placement group, and a bundle never spans nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from rlvr.config import Config
from rlvr.errors import ConfigError

ROUNDING = 1e-6  # of shares that add up to one GPU


@dataclass(frozen=True, slots=True)
class GpuNeed:
    """GPUs that one actor needs, or that two share, all on one node."""

    name: str
    gpus: float  # a share of one GPU, or a whole number
    actors: int = 1  # that live in it


def engine_parts(cfg: Config) -> list[GpuNeed]:
    """One part for each rollout engine; none where they run on CPU."""
    width = cfg.rollout.tensor_parallel * cfg.rollout.gpus_per_engine
    return [GpuNeed(f"engine-{i}", width) for i in range(cfg.rollout.engines) if width > 0]


def learner_parts(cfg: Config) -> list[GpuNeed]:
    """One part for each rank of the learner; none where it runs on CPU."""
    share = cfg.learner.gpus_per_worker
    return [GpuNeed(f"learner-{i}", share) for i in range(cfg.learner.workers) if share > 0]


def shared_parts(cfg: Config) -> list[GpuNeed]:
    """One part for each GPU that an engine and a rank of the learner take turns on; none on CPU."""
    return [
        GpuNeed(f"gpu-{i}", 1.0, actors=2)
        for i in range(cfg.learner.workers)
        if cfg.learner.gpus_per_worker > 0
    ]


def turn_problems(cfg: Config) -> list[str]:
    """Why engines and learner of this configuration cannot take turns, one message each."""
    if not cfg.cluster.colocate:
        return []
    rollout, learner = cfg.rollout, cfg.learner
    shares = rollout.gpus_per_engine, learner.gpus_per_worker
    level = cfg.cluster.sleep_level
    checks = (
        (level not in (1, 2), f"cluster.sleep_level={level}: vLLM has the levels 1 and 2"),
        (
            rollout.engines != learner.workers,
            f"rollout.engines={rollout.engines} and learner.workers={learner.workers}: each GPU holds one of both, so "
            "set them equal",
        ),
        (
            rollout.tensor_parallel > 1,
            f"rollout.tensor_parallel={rollout.tensor_parallel}: an engine has the one GPU of its learner rank; set it "
            "to 1, or cluster.colocate=false",
        ),
        (
            rollout.staleness > 0,
            f"rollout.staleness={rollout.staleness}: who takes turns cannot generate ahead; set it to 0",
        ),
        (
            any(shares) and shares != (0.5, 0.5),
            f"rollout.gpus_per_engine={shares[0]:g} and learner.gpus_per_worker={shares[1]:g}: two processes share a "
            "GPU, so set both to 0.5",
        ),
        (
            any(shares)
            and learner.zero_stage != 2
            and (learner.zero_stage, cfg.model.dtype) != (1, "float32"),
            f"learner.zero_stage={learner.zero_stage} and model.dtype={cfg.model.dtype}: DeepSpeed moves the states of "
            "torch's AdamW to host memory at stage 2, or at stage 1 in float32; set learner.zero_stage=2, which one "
            "rank can have as well",
        ),
        (
            any(shares) and cfg.sync.backend not in ("auto", "ipc"),
            f"sync.backend={cfg.sync.backend}: two processes on one GPU exchange weights by CUDA IPC; set it to auto",
        ),
    )
    return [f"cluster.colocate=true with {reason}" for wrong, reason in checks if wrong]


def share_problems(cfg: Config) -> list[str]:
    """Shares of GPUs that no cluster could give, one message each."""
    found = []
    share, width = cfg.rollout.gpus_per_engine, cfg.rollout.tensor_parallel
    if 0 < share < 1 and width > 1:
        found.append(
            f"rollout.gpus_per_engine={share:g} with rollout.tensor_parallel={width}: each tensor-parallel rank needs "
            "a whole GPU of its own; set rollout.gpus_per_engine=1, or rollout.tensor_parallel=1"
        )
    for key, value in (
        ("rollout.gpus_per_engine", share),
        ("learner.gpus_per_worker", cfg.learner.gpus_per_worker),
    ):
        if value > 1 and value != int(value):
            found.append(f"{key}={value:g}: must be a share of one GPU, at most 1, or a whole number of them")
    return found


def check_fit(nodes: Sequence[float], parts: Sequence[GpuNeed]) -> list[int]:
    """Put every part on a node, the widest first; returns the node of each part, as an index into `nodes`.

    nodes: GPUs of each node.

    Raises:
        ConfigError: some part is wider than every node, or they do not fit together.
    """
    widest = max(parts, key=lambda part: part.gpus)
    largest = max(nodes, default=0.0)
    if widest.gpus > largest:
        raise ConfigError(
            f"{widest.name} needs {widest.gpus:g} GPUs on one node (rollout.tensor_parallel x rollout.gpus_per_engine, "
            f"or learner.gpus_per_worker), and the largest node of the Ray cluster has {largest:g}. Lower "
            f"rollout.tensor_parallel to at most {int(largest)}, or run where the nodes are wider."
        )
    free = [[1.0] * int(gpus) for gpus in nodes]
    where: dict[int, int] = {}
    for index in sorted(range(len(parts)), key=lambda i: -parts[i].gpus):
        node = next((n for n, gpus in enumerate(free) if _take(gpus, parts[index].gpus)), None)
        if node is None:
            raise ConfigError(_no_room(nodes, parts, parts[index]))
        where[index] = node
    return [where[index] for index in range(len(parts))]


def _take(gpus: list[float], wanted: float) -> bool:
    """Take whole idle GPUs, or a share of the fullest one that has room; False where there is no room."""
    if wanted >= 1:
        idle = [i for i, free in enumerate(gpus) if free == 1.0][: ceil(wanted)]
        if len(idle) < ceil(wanted):
            return False
        for i in idle:
            gpus[i] = 0.0
        return True
    room = [i for i, free in enumerate(gpus) if free >= wanted - ROUNDING]
    if not room:
        return False
    gpus[min(room, key=lambda i: gpus[i])] -= wanted
    return True


def _no_room(nodes: Sequence[float], parts: Sequence[GpuNeed], left_over: GpuNeed) -> str:
    wanted: dict[tuple[str, float], int] = {}
    for part in parts:
        kind = (part.name.rpartition("-")[0], part.gpus)
        wanted[kind] = wanted.get(kind, 0) + 1
    said = " and ".join(f"{count} {name}(s) of {gpus:g} GPU(s)" for (name, gpus), count in wanted.items())
    total = sum(part.gpus for part in parts)
    have = " + ".join(f"{gpus:g}" for gpus in nodes)
    # Enough in all is no contradiction: what belongs together must lie on one node, a share on one GPU.
    return (
        f"{said} ask for {total:g} GPUs; the nodes of the Ray cluster have {have}, and no node has room left for "
        f"{left_over.name}. Change rollout.engines, rollout.tensor_parallel or learner.workers so that they fill nodes."
    )
