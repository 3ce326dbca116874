"""Load a model in pieces: under ZeRO-3 no rank holds more of it than its share and one layer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


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
