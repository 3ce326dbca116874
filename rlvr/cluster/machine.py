"""What one machine has to give, and what a run asks of it: GPUs, cores, threads and ports. Knows nothing of Ray."""

from __future__ import annotations

import socket

import psutil

from rlvr.cluster.limits import usable_cores
from rlvr.config import ClusterConfig, Config


def engine_gpus(cfg: Config) -> float:
    """GPUs that the rollout engines of a run ask for."""
    return cfg.rollout.engines * cfg.rollout.tensor_parallel * cfg.rollout.gpus_per_engine


def run_gpus(cfg: Config) -> float:
    """GPUs that the engines and the learner of a run ask for."""
    return engine_gpus(cfg) + cfg.learner.workers * cfg.learner.gpus_per_worker


def free_port() -> int:
    """A TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def idle_cores() -> tuple[int, int]:
    """(cores that nobody else is using, all cores that this process may use), looked at for half a second.

    OpenMP threads that outnumber idle cores wait for each other: measured on two cores with other work going
    on, a training step with two threads took five to ten times as long as with one.
    """
    cores = usable_cores()
    busy = psutil.cpu_percent(interval=0.5) / 100 * (psutil.cpu_count() or cores)
    return max(1, round(cores - busy)), cores


def threads_per_actor(cfg: ClusterConfig, *, busy_together: int) -> int:
    """OpenMP threads for each of `busy_together` actors that share the cores of one node."""
    if cfg.threads_per_actor is not None:
        return cfg.threads_per_actor
    cores = cfg.cpus or usable_cores()
    return max(1, cores // max(1, busy_together))


CPU_FILE = "/proc/cpuinfo"
BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})  # in it, on x86 and on aarch64


def cpu_flags(file: str = CPU_FILE) -> frozenset[str]:
    """What the first core of this machine can do, in the kernel's names; empty where it does not say."""
    return frozenset(_first_core(("flags", "Features"), file).split())


def cpu_name() -> str:
    """What the kernel calls the processor; "unknown processor" where it does not say."""
    return _first_core(("model name",), CPU_FILE) or "unknown processor"


def _first_core(keys: tuple[str, ...], file: str) -> str:
    try:
        with open(file) as lines:
            named = (line.partition(":") for line in lines)
            return next((value.strip() for key, _, value in named if key.strip() in keys), "")
    except OSError:
        return ""


def emulates(dtype: str, flags: frozenset[str]) -> bool:
    """Whether a CPU has to compute in another dtype in this one's stead; torch and vLLM do so silently."""
    return dtype == "bfloat16" and bool(flags) and flags.isdisjoint(BF16_FLAGS)
