"""DeepSpeed behind one module: joining the ranks, wrapping models, gathering sharded weights, moving states.

No other module imports deepspeed. It is imported when a rank starts, which takes seconds.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import Any

import torch
from torch import nn

from rlvr.cluster.board import Doing, report
from rlvr.cluster.imports import uncollected
from rlvr.config import LearnerConfig
from rlvr.learner.compiled import build_alone, extensions_folder


def load() -> str:
    """Import DeepSpeed; its version."""
    report(Doing("imports DeepSpeed"))
    with uncollected(for_good=True):
        import deepspeed
    version: str = deepspeed.__version__
    return version


def join(cfg: LearnerConfig, device: str, rank: int, world: int, master: tuple[str, int]) -> None:
    """Meet the other ranks at the address of rank 0."""
    import deepspeed

    report(Doing("joins the other ranks"))
    os.environ |= {
        "MASTER_ADDR": master[0],
        "MASTER_PORT": str(master[1]),
        "RANK": str(rank),
        "WORLD_SIZE": str(world),
        "LOCAL_RANK": "0",  # Ray shows each actor only its own GPU
    }
    backend = cfg.backend
    if backend == "auto":
        backend = "nccl" if device == "cuda" else "gloo"
    if device == "cpu":
        from deepspeed.comm.torch import build_shm_op

        folder = extensions_folder(f"torch{torch.__version__}", f"deepspeed{deepspeed.__version__}")
        report(Doing("compiles DeepSpeed's communication on CPU, once for all runs"))
        with build_alone(folder, deadline_seconds=cfg.start_deadline_seconds):
            build_shm_op()  # init_distributed would do so without the lock
    deepspeed.init_distributed(
        dist_backend=backend,
        auto_mpi_discovery=False,
        verbose=False,
        timeout=timedelta(seconds=cfg.deadline_seconds),
    )


def wrap(model: nn.Module, config: dict[str, object], optimizer: torch.optim.Optimizer | None = None) -> Any:
    """DeepSpeed's engine around a model; without an optimiser it only computes."""
    import deepspeed

    return deepspeed.initialize(model=model, optimizer=optimizer, config=config, dist_init_required=False)[0]


def use_outside(model: nn.Module, parameter: torch.Tensor) -> None:
    """Have a sharded parameter gathered for the forward of `model`, which uses it though another module owns it."""
    import deepspeed

    deepspeed.zero.register_external_parameter(model, parameter)


def gather_at_once(module: nn.Module) -> None:
    """Have all sharded parameters of a module gathered once a pass, however often its parts are called."""
    from deepspeed.utils.z3_leaf_module import set_z3_leaf_module

    set_z3_leaf_module(module, True)


def whole(parameters: Sequence[nn.Parameter], *, sharded: bool) -> AbstractContextManager[object]:
    """The whole parameters while inside; where they are sharded, all ranks enter it together."""
    import deepspeed

    gathered: AbstractContextManager[object] = (
        deepspeed.zero.GatheredParameters(list(parameters)) if sharded else nullcontext()
    )
    return gathered


def states_to_host(engine: Any, *, offloads: bool) -> None:
    """Move gradients, optimiser states and master weights from the GPU to host memory.

    Args:
        offloads: optimiser states and master weights are in host memory for good.
    """
    from deepspeed.runtime.zero.offload_config import OffloadStateTypeEnum as State

    states = [State.lp_grads, State.contiguous_grad_buffer]
    if not offloads:
        states += [State.optim_states, State.hp_params]
    engine.offload_states(include=states)


def parameters_to_host(engine: Any) -> None:
    """Move the parameters, too; `engine.reload_states()` brings all of it back."""
    from deepspeed.runtime.zero.offload_config import OffloadStateTypeEnum as State

    engine.offload_states(include=[State.lp_params])
