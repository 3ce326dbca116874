"""How much memory a computation takes, as torch's allocator counts it: the same number on every machine."""

from __future__ import annotations

import gc
from collections.abc import Callable

from torch import Tensor
from torch.profiler import ProfilerActivity, profile


def peak_bytes(compute: Callable[[], object]) -> int:
    """The most that tensors made in the call hold at one time, beyond what there was before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        compute()
    results = watched.profiler.kineto_results  # type: ignore[union-attr]
    changes = sorted((e.start_ns(), e.nbytes()) for e in results.events() if e.name() == "[memory]")
    held = peak = 0
    for _, size in changes:
        held += size
        peak = max(peak, held)
    return peak


def held_bytes() -> int:
    """What all tensors of this process hold now, each storage once."""
    found = [thing.untyped_storage() for thing in gc.get_objects() if isinstance(thing, Tensor)]
    return sum({storage.data_ptr(): storage.nbytes() for storage in found}.values())
