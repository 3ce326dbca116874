"""Adapters (LoRA) on their own on the way to the engines: when they go so, and what an engine must know. Pure.

The engines hold the frozen weights from the model's folder and add the adapter of the last push to them as they
compute, by vLLM's own LoRA. Adapters are small and travel through host memory, whatever the devices.
"""

from __future__ import annotations

from dataclasses import dataclass

from rlvr.config import Config

MERGED, ADAPTER = "merged", "adapter"  # sync.lora
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # that vLLM makes room for (its MaxLoRARanks)


@dataclass(frozen=True, slots=True)
class Adapter:
    """The adapter that an engine is to be sent."""

    rank: int
    alpha: float
    modules: tuple[str, ...]  # last parts of the names of the modules that have one, such as q_proj

    @property
    def room(self) -> int:
        """The rank that vLLM makes room for."""
        return room_for(self.rank)


def room_for(rank: int) -> int:
    """The least rank of vLLM's that holds an adapter of this one, which must be at most the largest."""
    return next(room for room in RANKS if room >= rank)


def sends_adapter(cfg: Config) -> bool:
    """Whether pushes send the adapter alone."""
    return cfg.sync.lora == ADAPTER and cfg.model.lora.rank > 0


def adapter_problems(cfg: Config) -> list[str]:
    """What cannot go with adapters that are sent alone, one message each."""
    if cfg.sync.lora != ADAPTER:
        return []
    if not cfg.model.lora.rank:
        return [
            "sync.lora=adapter with model.lora.rank=0: there is no adapter to send; set a rank, or sync.lora=merged"
        ]
    sync, cluster = cfg.sync, cfg.cluster
    checks = (
        (
            cfg.model.lora.rank > RANKS[-1],
            f"model.lora.rank={cfg.model.lora.rank}: vLLM has adapters of rank {RANKS[-1]} at most; set "
            "sync.lora=merged",
        ),
        (
            sync.backend not in ("auto", "gloo"),
            f"sync.backend={sync.backend}: adapters travel through host memory, over gloo; set it to auto",
        ),
        (
            sync.sparse != "off",
            f"sync.sparse={sync.sparse}: an adapter is sent whole, no copy of it is held; set it to off",
        ),
        (
            cluster.colocate and cluster.sleep_level == 2,
            "cluster.sleep_level=2: engines would drop the frozen weights, which no push brings back; set it to 1",
        ),
    )
    return [f"sync.lora=adapter with {reason}" for wrong, reason in checks if wrong]
