"""What truncated sampling records, as a vLLM logits processor: log-probs of the whole distribution.

Of its own vLLM records log-probs either before the temperature (raw) or after the truncation (processed). Here
every row of logits is shifted so that it becomes the log-probs at the request's temperature; top-p and top-k then
cut the same tokens as without the shift, and the logit of the token that is sampled (`processed_logits`) is its
log-prob over the whole vocabulary, which is what the learner computes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from vllm.v1.sample.logits_processor import LogitsProcessor as V1Processor
from vllm.v1.worker.gpu.sample.logits_processor import LogitsProcessor as V2Processor


class WholeDistribution(V1Processor, V2Processor):
    """Shifts logits to log-probs; one class because vLLM picks its model runner only after it has been given this.

    The V1 runner (CPU) applies it after the temperature. The V2 runner (GPU) applies it before, so there the
    temperature of each request slot is kept and put into the shift.
    """

    def __init__(self, vllm_config: Any, place: Any, is_pin_memory: bool | None = None) -> None:
        """`place` is the device for the V1 runner, the state of the request slots for the V2 runner."""
        if is_pin_memory is None:
            self._staged = torch.ones(place.max_num_reqs)
            self._temperature = torch.ones(place.max_num_reqs, device=place.device)

    def is_argmax_invariant(self) -> bool:
        """A shift of the whole row keeps its largest logit; the V1 runner then applies it after the temperature."""
        return True

    def update_state(self, batch_update: Any) -> None:
        """The V1 runner's requests need no state."""

    def add_request(self, req_idx: int, sampling_params: Any) -> bool:
        """The V2 runner puts a request into a slot; greedy ones keep temperature 1."""
        self._staged[req_idx] = sampling_params.temperature or 1.0
        return True

    def apply_staged_writes(self) -> None:
        self._temperature.copy_(self._staged)

    def apply(self, logits: Tensor, ctx: Any = None) -> Tensor:
        """Logits [rows, vocabulary] shifted in place by their log-sum-exp at the temperature."""
        if ctx is None:
            return logits.sub_(torch.logsumexp(logits, -1, keepdim=True))
        temperature = self._temperature[ctx.expanded_idx_mapping][:, None]
        return logits.sub_(temperature * torch.logsumexp(logits / temperature, -1, keepdim=True))
