"""What turns gradients into updates: AdamW, AdamW with 8-bit moments, or Muon. One table of names; pure torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from rlvr.config import Config, LearnerConfig
from rlvr.learner.model.policy import PolicyModel

EIGHT_BIT = "adamw_8bit"
MUON = "muon"


def _adam_settings(cfg: LearnerConfig) -> dict[str, Any]:
    # The rate is set before each update; DeepSpeed may take a step of its own while it starts.
    return {"lr": 0.0, "betas": tuple(cfg.betas), "eps": cfg.eps, "weight_decay": cfg.weight_decay}


def adamw(policy: PolicyModel, cfg: LearnerConfig) -> Optimizer:
    """AdamW (arXiv 1711.05101) for all trained parameters."""
    # Offloaded: one pass over memory, on all threads.
    fused = True if cfg.offload_optimizer == "cpu" else None
    return torch.optim.AdamW(_trained(policy), fused=fused, **_adam_settings(cfg))


def adamw_8bit(policy: PolicyModel, cfg: LearnerConfig) -> Optimizer:
    """AdamW whose moments have 8 bits a number (arXiv 2110.02861, package bitsandbytes)."""
    import bitsandbytes

    made: Optimizer = bitsandbytes.optim.AdamW8bit(_trained(policy), **_adam_settings(cfg))
    return made


def muon(policy: PolicyModel, cfg: LearnerConfig) -> Optimizer:
    """Muon for the matrices between embedding and head, AdamW for the rest.

    Its step has the root mean square of AdamW's (arXiv 2502.16982, section 2.2), so that one learning rate serves both.
    """
    matrices, rest = split_matrices(policy.lm)
    parts: list[Optimizer] = [
        torch.optim.Muon(matrices, lr=0.0, weight_decay=cfg.weight_decay, adjust_lr_fn="match_rms_adamw")
    ]
    if rest:
        parts.append(torch.optim.AdamW(rest, **_adam_settings(cfg)))
    return Together(parts)


OPTIMIZERS: dict[str, Callable[[PolicyModel, LearnerConfig], Optimizer]] = {
    "adamw": adamw,
    EIGHT_BIT: adamw_8bit,
    MUON: muon,
}


def reset(optimizer: Optimizer) -> None:
    """Make moments and step counts what they were before the first update."""
    # The state of bitsandbytes has tables too, and is made anew where it is missing.
    if type(optimizer).__module__.startswith("bitsandbytes"):
        optimizer.state.clear()
        return
    for state in optimizer.state.values():
        for value in state.values():
            if torch.is_tensor(value):
                value.zero_()


def optimizer_problems(cfg: Config) -> list[str]:
    """What is wrong with learner.optimizer before anything is loaded, one message each."""
    learner, found = cfg.learner, []
    if learner.optimizer == MUON and learner.zero_stage:
        found.append(
            f"learner.optimizer=muon with learner.zero_stage={learner.zero_stage}: Muon needs whole matrices, and "
            "DeepSpeed gives an optimiser flat shards of all parameters; set learner.zero_stage=0"
        )
    if learner.optimizer == EIGHT_BIT and find_spec("bitsandbytes") is None:
        found.append(
            "learner.optimizer=adamw_8bit: the package bitsandbytes is not installed; pip install bitsandbytes, or set "
            "it to adamw"
        )
    if learner.optimizer == EIGHT_BIT and learner.offload_optimizer != "none":
        found.append(
            f"learner.optimizer=adamw_8bit with learner.offload_optimizer={learner.offload_optimizer}: its moments are "
            "small and its kernels run where the model is; set the latter to none"
        )
    return found


def split_matrices(lm: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The trained 2-D parameters of hidden layers, and all others: embeddings, head, norms, biases."""
    head: Any = lm.get_output_embeddings()  # type: ignore[operator]
    tables = [
        module for module in (head, *lm.modules()) if module is head or isinstance(module, nn.Embedding)
    ]
    apart = {id(p) for module in tables for p in module.parameters(recurse=False)}
    trained = [p for p in lm.parameters() if p.requires_grad]
    matrices = [p for p in trained if p.ndim == 2 and id(p) not in apart]
    chosen = {id(p) for p in matrices}
    return matrices, [p for p in trained if id(p) not in chosen]


def _trained(policy: PolicyModel) -> list[nn.Parameter]:
    return [p for p in policy.parameters() if p.requires_grad]


class Together(Optimizer):
    """Several optimisers, each for parameters of its own, as one: its groups and its state are theirs."""

    def __init__(self, parts: Sequence[Optimizer]) -> None:
        self._parts = list(parts)
        self._counts = [len(part.param_groups) for part in parts]
        super().__init__([group for part in parts for group in part.param_groups], {})
        self._share()

    def _share(self) -> None:
        start = 0
        for part, count in zip(self._parts, self._counts, strict=True):
            part.param_groups = self.param_groups[start : start + count]
            part.state = self.state
            start += count

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step of each."""
        if closure is not None:
            raise ValueError("several optimisers cannot evaluate one loss again")
        for part in self._parts:
            part.step()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over groups and state."""
        super().load_state_dict(state_dict)
        self._share()
