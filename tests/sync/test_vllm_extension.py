"""What vLLM's workers leave out, and that its results are the same otherwise."""

from __future__ import annotations

import pytest
import torch

from rlvr.sync.vllm_extension import WorkerExtension


@pytest.mark.slow
def test_ranks_are_not_counted_and_log_probs_are_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    from vllm.v1.sample import sampler

    def counted(x: torch.Tensor, values: torch.Tensor) -> torch.Tensor:  # vLLM's own compiles
        return (x >= values).sum(-1)

    monkeypatch.setattr(sampler, "batched_count_greater_than", counted)
    logprobs = torch.tensor([[0.2, 0.5, 0.3], [0.7, 0.2, 0.1]]).log()
    sampled = torch.tensor([2, 1])
    before = sampler.Sampler.gather_logprobs(logprobs, 0, sampled)
    assert before.selected_token_ranks.tolist() == [2, 2]
    WorkerExtension().leave_ranks_out()
    after = sampler.Sampler.gather_logprobs(logprobs, 0, sampled)
    assert after.selected_token_ranks.tolist() == [0, 0]
    assert after.logprob_token_ids.equal(before.logprob_token_ids)
    assert after.logprobs.equal(before.logprobs)
