"""How much of a forward pass is kept for backward: which layers are computed again, and what of them is kept.

Pure torch. `rlvr.learner.model.tiling` has the feed-forward layers in tiles of tokens.
"""

from __future__ import annotations

from collections import deque
from functools import cache
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from rlvr.config import Config, LearnerConfig
from rlvr.errors import ConfigError

NOTHING, ATTENTION = "nothing", "attention"
KEPT = (NOTHING, ATTENTION)  # learner.checkpoint_keep
FUSED = ("attention", "flash_attn")  # what the names of operations have that are a whole attention


def activation_problems(cfg: Config) -> list[str]:
    """What is wrong with settings of checkpointing before anything is loaded, one message each."""
    learner, found = cfg.learner, []
    for key, value, default in (
        ("checkpoint_every", learner.checkpoint_every, 1),
        ("checkpoint_keep", learner.checkpoint_keep, NOTHING),
    ):
        if value != default and not cfg.model.gradient_checkpointing:
            found.append(
                f"learner.{key}={value} with model.gradient_checkpointing=false: no layer is computed again; set "
                "the latter to true"
            )
    if learner.checkpoint_keep == ATTENTION and cfg.model.attention == "eager":
        found.append(
            "learner.checkpoint_keep=attention with model.attention=eager: it has no single operation whose result "
            "could be kept; use sdpa or flash_attention_2"
        )
    return found


def checkpoint_layers(lm: Any, cfg: LearnerConfig, key: str) -> None:
    """Have every n-th layer of a model of transformers computed again in backward, from what it was given.

    The result of attention, whose work grows with the square of the length, may be kept (arXiv 2205.05198 does the
    reverse, before attention was one operation).

    Raises:
        ConfigError: its layers cannot be told apart; `key` is the setting that named it.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer

    selective = cfg.checkpoint_every > 1 or cfg.checkpoint_keep != NOTHING
    if selective and not any(isinstance(module, GradientCheckpointingLayer) for module in lm.modules()):
        raise ConfigError(
            f"learner.checkpoint_every={cfg.checkpoint_every}, learner.checkpoint_keep={cfg.checkpoint_keep}: {key} "
            "does not have its layers as models of transformers do; set them to 1 and nothing"
        )
    how: dict[str, Any] = {"use_reentrant": False}
    if cfg.checkpoint_keep == ATTENTION:
        how["context_fn"] = _keep_attention
    # Models with code of their own, and older versions of transformers, do not know the argument.
    some = {"every_n_layers": cfg.checkpoint_every} if cfg.checkpoint_every > 1 else {}
    lm.gradient_checkpointing_enable(gradient_checkpointing_kwargs=how, **some)


class _Attention(TorchDispatchMode):
    """Takes the results of attention down or, while a layer is computed again, gives them back in their order."""

    def __init__(self, kept: deque[Any], again: bool) -> None:
        super().__init__()
        self._kept, self._again = kept, again

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if _is_attention(func) and self._again:
            return self._kept.popleft()
        result = func(*args, **(kwargs or {}))
        if _is_attention(func):
            self._kept.append(tree_map_only(torch.Tensor, torch.Tensor.detach, result))
        return result


def _keep_attention() -> tuple[_Attention, _Attention]:
    """What a layer runs in at first, and again.

    torch's own policies want the same operations both times; those that gather weights under ZeRO-3 are not.
    """
    kept: deque[Any] = deque()
    return _Attention(kept, again=False), _Attention(kept, again=True)


@cache
def _is_attention(operation: object) -> bool:
    return any(name in str(operation) for name in FUSED)
