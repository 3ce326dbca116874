"""Which GPUs this machine has, and whether torch has code for them; asks the driver, so that no context is opened."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from rlvr.errors import ConfigError

QUERY = ("nvidia-smi", "--query-gpu=name,compute_cap", "--format=csv,noheader")
ASK_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class GpuCard:
    """A GPU by what its driver says of it."""

    name: str
    capability: tuple[int, int]  # compute capability, (9, 0) of an H100


def local_cards() -> list[GpuCard]:
    """The GPUs of this machine; none where there is no driver."""
    try:
        done = subprocess.run(QUERY, capture_output=True, text=True, timeout=ASK_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return read_cards(done.stdout) if done.returncode == 0 else []


def read_cards(table: str) -> list[GpuCard]:
    """The cards of the lines "name, major.minor"."""
    rows = (line.rpartition(",") for line in table.splitlines())
    found = ((name, re.fullmatch(r"\s*(\d+)\.(\d+)\s*", capability)) for name, _, capability in rows)
    return [GpuCard(name.strip(), (int(match[1]), int(match[2]))) for name, match in found if match]


def has_code_for(capability: tuple[int, int], built_for: Sequence[str]) -> bool:
    """Whether a build for these architectures, such as sm_90 and compute_90, runs on a card.

    Machine code (sm) runs on cards of its generation that are not older, that of one card alone (sm_90a) nowhere else;
    intermediate code (compute) is translated for every card that is not older.
    """
    for name in built_for:
        match = re.fullmatch(r"(sm|compute)_(\d+)(\d)([a-z]?)", name)
        if match is None:
            continue
        kind, major, minor, only = match[1], int(match[2]), int(match[3]), match[4]
        if kind == "compute":
            runs = (major, minor) <= capability
        elif only == "a":
            runs = (major, minor) == capability
        else:
            runs = major == capability[0] and minor <= capability[1]
        if runs:
            return True
    return False


def check_wheel(cards: Sequence[GpuCard], built_for: Sequence[str], torch_version: str) -> None:
    """Refuse GPUs for which the installed torch has no code.

    built_for: `torch.cuda.get_arch_list()`; empty in a build for CPUs.

    Raises:
        ConfigError: names the card, the build and what to install.
    """
    for card in cards:
        if has_code_for(card.capability, built_for):
            continue
        ours = f"sm_{card.capability[0]}{card.capability[1]}"
        if not built_for:
            raise ConfigError(
                f"{card.name}: the installed torch {torch_version} is built for CPUs; install the GPU stack (make "
                "setup-gpu), or set rollout.gpus_per_engine=0 learner.gpus_per_worker=0"
            )
        raise ConfigError(
            f"{card.name}: the installed torch {torch_version} has no code for its architecture {ours} (it has "
            f"{', '.join(built_for)}); install a build of torch, and of vLLM, for CUDA that has"
        )
