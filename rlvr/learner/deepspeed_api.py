"""The only module that knows deepspeed: joining the ranks, gathering sharded weights, and the engine around a model.

It is imported when a rank starts, which takes seconds.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, redirect_stderr, redirect_stdout
from datetime import timedelta
from io import StringIO
from typing import Any

import torch
from torch import nn

from rlvr.cluster.board import Doing, report
from rlvr.cluster.imports import uncollected
from rlvr.config import LearnerConfig
from rlvr.divergence.building import own_ninja
from rlvr.errors import CheckpointError

TAG = "deepspeed"  # folder of the states in a checkpoint


def import_deepspeed() -> str:
    """Import it; its version."""
    report(Doing("imports DeepSpeed"))
    with uncollected(for_good=True):
        import deepspeed
    version: str = deepspeed.__version__
    return version


def join_ranks(cfg: LearnerConfig, device: str, rank: int, world: int, master: tuple[str, int]) -> None:
    """Meet the other ranks at the address of rank 0, within learner.deadline_seconds.

    Sets the variables that torch.distributed reads.
    """
    import deepspeed

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
    # DeepSpeed asks for one of its operations here, of inference with tensor parallelism: to look which it can compile
    # takes compilers, and to compile that one half a minute of the first start on a CPU.
    deepspeed.ops.__compatible_ops__ = {}
    report(Doing("joins the other ranks"))
    deepspeed.init_distributed(
        dist_backend=backend,
        auto_mpi_discovery=False,
        verbose=False,
        timeout=timedelta(seconds=cfg.deadline_seconds),
    )


def register_external(model: nn.Module, parameter: torch.Tensor) -> None:
    """Have a sharded parameter gathered for the forward of `model`, which uses it though another module owns it."""
    import deepspeed

    deepspeed.zero.register_external_parameter(model, parameter)


def gather_at_once(module: nn.Module) -> None:
    """Have all sharded parameters of a module gathered once a pass, however often its parts are called."""
    from deepspeed.utils.z3_leaf_module import set_z3_leaf_module

    set_z3_leaf_module(module, True)


def gathered(parameters: Sequence[nn.Parameter], *, sharded: bool) -> AbstractContextManager[object]:
    """The whole parameters while inside; where they are sharded, all ranks enter it together."""
    if not sharded:
        return nullcontext()
    import deepspeed

    context: AbstractContextManager[object] = deepspeed.zero.GatheredParameters(list(parameters))
    return context


def whole_shape(parameter: nn.Parameter) -> tuple[int, ...]:
    """Of the whole parameter; ZeRO-3 leaves an empty one and notes on it what it was."""
    return tuple(getattr(parameter, "ds_shape", parameter.shape))


def whole_weights(folder: str, dtype: torch.dtype, *, without_frozen: bool) -> dict[str, torch.Tensor]:
    """The whole parameters of what ZeRO-3 ranks have saved below `folder`, from their fp32 copies; needs no ranks.

    Raises:
        Exception: whatever DeepSpeed, torch and pickle make of files that are missing or damaged.
    """
    os.environ.setdefault("DS_ACCELERATOR", "cpu")  # files are read: no card is to be looked for
    with uncollected():
        from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):  # it tells at length what it does
        parts: dict[str, Any] = get_fp32_state_dict_from_zero_checkpoint(
            folder, tag=TAG, exclude_frozen_parameters=without_frozen, lazy_mode=True
        )
    # A parameter is put together when it is asked for; buffers are whole.
    return {
        name: part if isinstance(part, torch.Tensor) else part.contiguous().to(dtype)
        for name, part in parts.items()
    }


class DeepSpeedEngine:
    """A model on its rank, with optimiser or without one; as much of DeepSpeed's engine as the learner uses."""

    def __init__(
        self, model: nn.Module, config: dict[str, object], optimizer: torch.optim.Optimizer | None = None
    ) -> None:
        import deepspeed

        with own_ninja():  # some kinds of offloading are compiled here
            made = deepspeed.initialize(
                model=model, optimizer=optimizer, config=config, dist_init_required=False
            )
        self.wrapped: Any = made[0]
        self.module: Any = self.wrapped.module
        self.device: torch.device = self.wrapped.device
        self.optimizer: Any = self.wrapped.optimizer

    def __call__(self, *inputs: object) -> Any:
        """The model's forward pass."""
        return self.wrapped(*inputs)

    def train(self, mode: bool) -> None:
        """Learn from what comes, or only compute."""
        self.wrapped.train(mode)

    def backward(self, loss: torch.Tensor) -> None:
        """Add the gradients of a loss."""
        self.wrapped.backward(loss)

    def step(self) -> float | None:
        """Update the parameters; the norm of the whole gradient where DeepSpeed computes one."""
        self.wrapped.step()
        norm = self.wrapped.get_global_grad_norm()
        return None if norm is None else float(norm)

    @property
    def torch_optimizer(self) -> torch.optim.Optimizer:
        """The optimiser inside of what ZeRO and bf16 put around it."""
        inner = self.optimizer
        while hasattr(inner, "optimizer"):
            inner = inner.optimizer
        found: torch.optim.Optimizer = inner
        return found

    def states_to_host(self, *, optimizer_is_there: bool) -> None:
        """Move gradients and, unless they live in host memory for good, optimiser states and master weights there."""
        from deepspeed.runtime.zero.offload_config import OffloadStateTypeEnum as State

        states = [State.lp_grads, State.contiguous_grad_buffer]
        if not optimizer_is_there:
            states += [State.optim_states, State.hp_params]
        self.wrapped.offload_states(include=states)

    def parameters_to_host(self) -> None:
        """Move the parameters there, too."""
        from deepspeed.runtime.zero.offload_config import OffloadStateTypeEnum as State

        self.wrapped.offload_states(include=[State.lp_params])

    def to_device(self) -> None:
        """Move everything back to the GPU that was moved to host memory."""
        self.wrapped.reload_states()

    def save(self, folder: str, state: Mapping[str, Any], *, without_frozen: bool) -> None:
        """Write weights, optimiser state and `state` below `folder`; all ranks take part."""
        self.wrapped.save_checkpoint(
            folder,
            tag=TAG,
            client_state=dict(state),
            save_latest=False,
            exclude_frozen_parameters=without_frozen,
        )

    def load(self, folder: str, *, without_frozen: bool) -> dict[str, Any]:
        """Restore what `save` wrote; returns its `state`.

        Raises:
            CheckpointError: the folder lacks a loadable checkpoint for this world size and ZeRO stage.
        """
        try:
            path, state = self.wrapped.load_checkpoint(folder, tag=TAG, load_module_strict=not without_frozen)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # whatever torch and pickle make of a damaged file
            raise CheckpointError(f"loading its weights failed: {type(error).__name__}: {error}") from error
        if path is None:
            raise CheckpointError("DeepSpeed found no checkpoint to load")
        # The limit of the gradient's norm has come from the checkpoint; a resumed run may have another.
        if hasattr(self.optimizer, "clip_grad"):
            self.optimizer.clip_grad = self.wrapped.gradient_clipping()
        found: dict[str, Any] = state
        return found
