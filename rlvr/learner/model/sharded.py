"""Load a model in pieces: under ZeRO-3 no rank holds more of it than its share and one layer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(slots=True, weakref_slot=True)
class LiveConfig:
    """What transformers asks of its own HfDeepSpeedConfig, which needs the package accelerate."""

    config: dict[str, Any]

    def is_zero3(self) -> bool:
        """Whether parameters are sharded as they are made."""
        return True


@contextmanager
def sharded_loading(config: dict[str, Any] | None) -> Iterator[None]:
    """While inside, `from_pretrained` shards each parameter as it is made, by this configuration of DeepSpeed.

    None: it loads whole models. transformers keeps no more than a weak reference, hence the block.
    """
    if config is None:
        yield
        return
    from transformers.integrations.deepspeed import set_hf_deepspeed_config, unset_hf_deepspeed_config

    live = LiveConfig(config)
    set_hf_deepspeed_config(live)
    try:
        yield
    finally:
        unset_hf_deepspeed_config()


def restore_tables(lm: nn.Module) -> None:
    """Compute the tables of rotary embeddings again, in the precision that they have in a model loaded whole.

    While parameters are sharded as they are made, DeepSpeed makes every new tensor in their precision: in bf16 the
    frequencies would be off by up to 0.4 %.
    """
    for module in lm.modules():
        computed = sorted(module._non_persistent_buffers_set)
        if computed and hasattr(module, "config") and not list(module.parameters(recurse=False)):
            fresh = type(module)(module.config)
            for name in computed:
                old, new = module._buffers[name], fresh._buffers[name]
                if old is not None and new is not None:
                    module._buffers[name] = new.to(old.device)
