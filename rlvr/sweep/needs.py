"""What a job of a sweep needs, estimated from its configuration, and what this machine has.

Memory in MiB, proportional set size at the peak, measured on a built-in model with one thread on two shared CPU
cores: the quickstart's run (6 steps) 2535 together, of which engine 1307 with 512 of KV cache, learner 535, driver
393, Ray's own processes and the grader 300 to 400; with two engines, two learners and 64 of KV cache (2 steps) 3082,
of which engines 746 and 758, learners 428 and 437. The allowances below are larger: 3140 and 4292. What another
model adds is counted from its weight files, not measured: weights, gradients and AdamW's moments, one chunk of
logits, no activations.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from rlvr.cluster.limits import usable_cores, usable_memory
from rlvr.config import Config
from rlvr.data.models.tokenizer import BUILTIN, model_folder
from rlvr.errors import DataError
from rlvr.learner.model.policy import WORKSPACE_MB
from rlvr.runtime.planning.ledger import copies, host_states
from rlvr.sweep.slots import Need, Room, devices_for

RUN_MB = 1024  # driver and Ray's own processes
ENGINE_MB = 896  # each, without KV cache and weights
LEARNER_MB = 640  # each rank, without what depends on the model
GRADER_MB = 68  # each
KEPT_FREE = 0.1  # share of the machine's memory: Ray ends processes where 95 % are in use


def machine_room(jobs: int | None, *, gpus: bool) -> Room:
    """What this process may use of the machine now; GPUs are looked for only where a job asks for some."""
    memory = usable_memory()
    return Room(
        cores=usable_cores(),
        memory_mb=max(0, int(memory.available - KEPT_FREE * memory.total) >> 20),
        gpus=visible_gpus() if gpus else (),
        jobs=jobs,
    )


def visible_gpus() -> tuple[str, ...]:
    """The devices that CUDA shows to this process, named as CUDA_VISIBLE_DEVICES names them."""
    import torch

    count = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [str(i) for i in range(count)] if named is None else [n.strip() for n in named.split(",")]
    return tuple(names[:count])


def job_need(cfg: Config) -> Need:
    """What one run takes; a run that cannot be measured or divided has the machine to itself."""
    shares = [cfg.rollout.gpus_per_engine * cfg.rollout.tensor_parallel] * cfg.rollout.engines
    shares += [cfg.learner.gpus_per_worker] * cfg.learner.workers
    models = [cfg.model.path, cfg.model.base_path or cfg.model.path]
    sizes = [parameters(path) for path in models]
    alone = ""
    if cfg.cluster.address != "local":
        alone = f"cluster.address={cfg.cluster.address} (a joined cluster is not divided among jobs)"
    elif cfg.cluster.cpus is None:
        alone = "cluster.cpus=null (a job takes every core that is idle when it starts)"
    elif None in sizes:
        unknown = models[sizes.index(None)]
        alone = f"memory (the size of model {unknown} is unknown until it has been downloaded)"
    return Need(
        cores=cfg.cluster.cpus or 1,
        memory_mb=memory_mb(cfg, sizes[0] or 0, sizes[1] or 0),
        gpus=devices_for(shares),
        alone=alone,
    )


def memory_mb(cfg: Config, policy: int, base: int) -> int:
    """Host memory of one run at its peak [MiB], for models of so many parameters; an upper estimate.

    On GPUs the host holds the weights while they are loaded, and what is offloaded or put away in the other's turn
    on a shared GPU; on CPU it holds everything, and ZeRO's sharding is not counted.
    """
    engines, workers = cfg.rollout.engines, cfg.learner.workers
    width = 4 if cfg.model.dtype == "float32" else 2
    engine = width * policy
    if cfg.learner.gpus_per_worker > 0:
        learner = max(engine, int(host_states(cfg, policy, base)))
        cache = workspace = 0
    else:
        # policy, gradients and base; AdamW's two moments, and the fp32 copy of bf16 parameters
        learner = width * (2 * policy + base) + (8 if width == 4 else 12) * policy
        total = usable_memory().total
        cache_mb = cfg.rollout.kv_cache_mb
        cache = int(cfg.rollout.memory_utilization * total) if cache_mb is None else cache_mb << 20
        workspace = 0 if policy == 0 else int(WORKSPACE_MB * 1e6)
    own = RUN_MB + engines * ENGINE_MB + workers * LEARNER_MB + cfg.reward.workers * GRADER_MB
    return own + (
        (engines * (engine + cache) + workers * (learner + workspace) + int(copies(cfg, policy))) >> 20
    )


def parameters(path: str) -> int | None:
    """Parameters of a model by the size of its weight files; None for one that is not on this machine.

    0 for the built-in one, which weighs nothing beside the process, and for a path that the run will refuse.
    """
    if path == BUILTIN:
        return 0
    try:
        folder = Path(model_folder(path))
    except DataError:
        return 0
    if not folder.is_dir():
        return _in_hub_cache(path)
    files = list(folder.glob("*.safetensors")) or list(folder.glob("*.bin"))
    return sum(file.stat().st_size for file in files) // _bytes_per_parameter(folder)


def _in_hub_cache(name: str) -> int | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return parameters(snapshot_download(name, local_files_only=True))
    except LocalEntryNotFoundError:
        return None


def _bytes_per_parameter(folder: Path) -> int:
    """Four unless config.json says that the weights are stored in half precision."""
    try:
        config = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):  # the run refuses the model with its own words
        return 4
    stored = config.get("dtype", config.get("torch_dtype"))
    return 2 if stored in ("bfloat16", "float16") else 4
