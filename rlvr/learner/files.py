"""What a learner writes to disk and reads back: the states of a checkpoint, and models in Hugging Face format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from rlvr.errors import CheckpointError

TAG = "deepspeed"  # folder of the states in a checkpoint
Named = Iterator[tuple[str, torch.Tensor]]


def save_states(engine: Any, folder: str, state: Mapping[str, Any], *, without_frozen: bool) -> None:
    """Write weights, optimiser state and `state` of a DeepSpeed engine below `folder`; all ranks take part."""
    engine.save_checkpoint(
        folder,
        tag=TAG,
        client_state=dict(state),
        save_latest=False,
        exclude_frozen_parameters=without_frozen,
    )


def load_states(engine: Any, folder: str, *, without_frozen: bool) -> dict[str, Any]:
    """Restore what `save_states` wrote; returns its `state`.

    Raises:
        CheckpointError: the folder lacks a loadable checkpoint for this world size and ZeRO stage.
    """
    try:
        path, state = engine.load_checkpoint(folder, tag=TAG, load_module_strict=not without_frozen)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever torch and pickle make of a damaged file
        raise CheckpointError(f"loading its weights failed: {type(error).__name__}: {error}") from error
    if path is None:
        raise CheckpointError("DeepSpeed found no checkpoint to load")
    found: dict[str, Any] = state
    return found


def on_host(tensors: Named, *, wanted: bool) -> dict[str, torch.Tensor]:
    """Copies of them all; none where they are not wanted, but every rank goes through them."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors if wanted}


def export_model(lm: Any, weights: Mapping[str, torch.Tensor], folder: Path) -> None:
    """Write a model in Hugging Face format.

    Raises:
        OSError: a full disk, say.
    """
    tied = set(getattr(lm, "all_tied_weights_keys", None) or {})
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lm.save_pretrained(str(folder), state_dict={k: v for k, v in weights.items() if k not in tied})
    except SafetensorError as error:  # how it reports what the system does
        raise OSError(f"{folder}: {error}") from error
