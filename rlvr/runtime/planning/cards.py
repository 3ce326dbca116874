"""What GPUs give: published peaks, the share of them that programs reach, and rates of one's own.

Memory, arithmetic and bandwidth are the makers' data sheets (dense bf16, SXM where there are two). The shares are
estimates: nothing here has been measured on a GPU.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import yaml

from rlvr.errors import ConfigError

OF_PEAK_FLOPS = 0.35  # in training and scoring passes
OF_PEAK_BANDWIDTH = 0.75  # while decoding


@dataclass(frozen=True, slots=True)
class Card:
    """A device: its memory, and what programs reach on it."""

    name: str
    memory_gb: float
    tflops: float  # in matrix products of bf16
    memory_gb_s: float  # bandwidth of its memory
    network_gb_s: float = 20.0  # to another GPU, for weights
    host_gb_s: float = 20.0  # to host memory, for states that take turns

    @property
    def memory(self) -> float:
        """Bytes."""
        return self.memory_gb * 1e9


def _of(
    name: str, memory_gb: float, peak_tflops: float, peak_gb_s: float, network_gb_s: float = 20.0
) -> Card:
    return Card(name, memory_gb, OF_PEAK_FLOPS * peak_tflops, OF_PEAK_BANDWIDTH * peak_gb_s, network_gb_s)


CARDS = {
    "a10": _of("A10 24 GB", 24, 125, 600, 10),
    "rtx4090": _of("RTX 4090 24 GB", 24, 165, 1008, 10),
    "l40s": _of("L40S 48 GB", 48, 362, 864, 10),
    "a100_40gb": _of("A100 40 GB", 40, 312, 1555),
    "a100": _of("A100 80 GB", 80, 312, 2039),
    "h100": _of("H100 80 GB", 80, 989, 3350),
    "h200": _of("H200 141 GB", 141, 989, 4800),
    "b200": _of("B200 180 GB", 180, 2250, 8000),
}
STANDARD = "h100"


def chosen_card(name: str, rates: Path | None = None) -> Card:
    """A card of the table, with the rates of a YAML file in place of its own where the file names them.

    Raises:
        ConfigError: no such card, or a file that cannot be read, or holds other keys or values.
    """
    if name not in CARDS:
        raise ConfigError(
            f"card={name}: not in the table; it has {', '.join(CARDS)}. rates=FILE gives one's own"
        )
    if rates is None:
        return CARDS[name]
    try:
        given: Any = yaml.safe_load(rates.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"rates={rates}: cannot be read ({error})") from error
    known = [field.name for field in fields(Card)]
    wrong = not isinstance(given, dict) or set(given) - set(known)
    if wrong or any(key != "name" and not _positive(value) for key, value in given.items()):
        raise ConfigError(
            f"rates={rates}: a YAML file is expected with some of the keys {', '.join(known)}, each a number "
            "above 0 (name: words), such as `tflops: 420`"
        )
    return replace(CARDS[name], **{"name": f"{CARDS[name].name} with rates of {rates.name}", **given})


def _positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0
