"""Whether a run fits where it is started: its ledger against this machine's memory and GPUs."""

from __future__ import annotations

import shutil
import subprocess

from rlvr.cluster.limits import Memory, usable_memory
from rlvr.config import Config
from rlvr.data.models.weight_files import check_weights
from rlvr.errors import ConfigError
from rlvr.learner.scoring import needs_base
from rlvr.runtime.planning.cards import CARDS, STANDARD, Card
from rlvr.runtime.planning.ledger import COPY, Ledger, ledgers, on_gpus
from rlvr.runtime.planning.shape import model_shape
from rlvr.runtime.planning.text import gb, short

ASK_SECONDS = 20.0


def local_card() -> Card | None:
    """The smallest GPU of this machine, with the rates of the table's nearest in memory; None without nvidia-smi."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    query = [program, "--query-gpu=memory.total,name", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(query, capture_output=True, text=True, timeout=ASK_SECONDS, check=True).stdout
        memory, name = min(
            (float(line.split(",")[0]), line.split(",")[1].strip()) for line in told.splitlines()
        )
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):  # no driver, or no GPU
        return None
    size = memory * (1 << 20) / 1e9
    like = min(CARDS.values(), key=lambda card: abs(card.memory_gb - size))
    return Card(name, size, like.tflops, like.memory_gb_s, like.network_gb_s, like.host_gb_s)


def planned(cfg: Config, signals: frozenset[str]) -> str:
    """The short form of a run's plan.

    Raises:
        ConfigError: a weight file is damaged, or it needs more than there is, unless cluster.on_misfit=warn.
    """
    base = needs_base(signals)
    check_weights(cfg.model)
    shape = model_shape(cfg, stored=True)
    card = local_card() if on_gpus(cfg) and cfg.cluster.address == "local" else None
    line = short(cfg, shape, card, base=base)
    found = ledgers(cfg, shape, card or CARDS[STANDARD], base=base)
    problem = misfit(cfg, found, None if card is None else card.memory, usable_memory())
    if not problem:
        return line
    if cfg.cluster.on_misfit == "refuse":
        raise ConfigError(
            f"{problem}. `rlvr plan` with the same arguments says what takes it and which changes would help; "
            "cluster.on_misfit=warn starts it all the same."
        )
    return f"{line}\nWARNING {problem} (cluster.on_misfit=warn)"


def misfit(cfg: Config, found: list[Ledger], device: float | None, host: Memory) -> str:
    """What does not fit a GPU of `device` bytes (None: unknown), on CPU the memory of the host; "" if all does."""
    if on_gpus(cfg):
        largest = max(found, key=lambda ledger: ledger.total)
        if device is not None and largest.total > device:
            return f"{largest.role}: estimated to need {gb(largest.total)}, and the GPU has {gb(device)}"
        return ""
    learner, engine = found
    total = cfg.learner.workers * learner.total + cfg.rollout.engines * engine.total
    total -= (cfg.learner.workers - 1) * dict(learner.parts).get(COPY, 0.0)  # only rank 0 has one
    if cfg.cluster.address == "local" and total > host.total:
        has = f"this machine has {gb(host.total)}"
        if host.limited:
            has = f"of this machine's {gb(host.machine)} a control group allows {gb(host.total)} (container or job)"
        return f"engines and learner: estimated to need {gb(total)} together, and {has}"
    return ""
