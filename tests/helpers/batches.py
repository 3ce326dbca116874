"""A batch small enough to be written down, for the examples of the documents."""

from __future__ import annotations

import numpy as np

from rlvr.types import Batch, TokenSignals


def small_batch() -> Batch:
    lengths = np.asarray([2, 3])
    return Batch(
        input_ids=(np.arange(4), np.arange(5)),
        prompt_lengths=np.asarray([2, 2]),
        response_lengths=lengths,
        group_index=np.asarray([0, 0]),
        advantage=np.asarray([1.0, -1.0], dtype=np.float32),
        reward=np.asarray([1.0, 0.0], dtype=np.float32),
        in_loss=np.asarray([True, True]),
        rollout_logp=np.zeros(5, dtype=np.float32),
        weight_version=np.zeros(5, dtype=np.int64),
        own_context=np.ones(5, dtype=np.bool_),
        signals=TokenSignals(old_logp=np.asarray([0.0, -1.0, -2.5, -5.0, -9.0], dtype=np.float32)),
    )
