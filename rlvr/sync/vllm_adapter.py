"""The policy's adapter as a LoRA of vLLM's own: made of the tensors of a push, without files.

vLLM's `load_inplace` is what a push does: an adapter keeps its number and gets other weights, so that responses under
way go on with them. The name says the version, and vLLM keeps cached keys and values apart by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from vllm.lora.lora_model import LoRAModel
from vllm.lora.peft_helper import PEFTHelper
from vllm.lora.request import LoRARequest

from rlvr.sync.adapter import Adapter

NUMBER = 1  # of the only adapter


def request_of(version: int) -> LoRARequest:
    """What a request carries so that it is computed with the adapter of this version.

    vLLM reads a path only where it has no such adapter: it finds none there, and the request fails.
    """
    return LoRARequest(f"policy-{version}", NUMBER, f"/an adapter that is only pushed/version-{version}")


def use_adapter(model: Any, tensors: Mapping[str, torch.Tensor], adapter: Adapter) -> set[str]:
    """Put an adapter, by peft's names, in the place of the one before; returns those that vLLM has not taken over."""
    manager = model.lora_manager
    mapper = getattr(model, "hf_to_vllm_mapper", None)
    alpha: Any = adapter.alpha  # any number will do, whatever its annotation says
    made = LoRAModel.from_lora_tensors(
        NUMBER,
        dict(tensors),
        PEFTHelper(r=adapter.rank, lora_alpha=alpha, target_modules=list(adapter.modules)),
        device="cpu",
        dtype=manager.lora_config.lora_dtype,
        weights_mapper=None if mapper is None else mapper.get_rename_mapper(),
    )
    halves = {name for name, lora in made.loras.items() if lora.lora_a is None or lora.lora_b is None}
    if halves:  # which vLLM does not look for
        return halves
    manager.remove_adapter(NUMBER)
    manager.add_adapter(made)
    manager.activate_adapter(NUMBER)
    slot = manager.lora_index_to_id.index(NUMBER)
    return {name for name, lora in made.loras.items() if not _is_in(manager.modules.get(name), lora, slot)}


def _is_in(module: Any, lora: Any, slot: int) -> bool:
    """Whether a module computes with these weights; of a module in shards, whether it has any."""
    if module is None:
        return False
    for held, given in ((module.lora_a_stacked, lora.lora_a), (module.lora_b_stacked, lora.lora_b)):
        parts = given if isinstance(given, list) else [given]
        if module.tp_size > 1 or len(parts) != len(held):
            continue
        for place, part in zip(held, parts, strict=True):
            if part is not None and not torch.equal(
                place[slot, 0, : part.shape[0], : part.shape[1]].cpu(), part
            ):
                return False
    return True
