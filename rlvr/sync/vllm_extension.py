"""What is mixed into vLLM's workers, each of which may be a process of its own."""

from __future__ import annotations

import torch

from rlvr.sync.vllm_recorder import WeightRecorder

WORKER_EXTENSION = "rlvr.sync.vllm_extension.WorkerExtension"  # EngineArgs.worker_extension_cls


class WorkerExtension(WeightRecorder):
    """One more call of a worker than those about its weights."""

    def leave_ranks_out(self) -> None:
        """Do not count the words that are likelier than a sampled one, which nobody here asks for.

        On a CPU that costs seconds of every start where it is compiled, and where it is not, more than the softmax at
        every token.
        """
        from vllm.v1.sample import sampler

        def unranked(x: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
            return torch.zeros(len(values), dtype=torch.int64, device=values.device)

        sampler.batched_count_greater_than = unranked
