"""Of the samples that share a prompt, the plan counts the prompt once."""

from __future__ import annotations

import pytest

from rlvr.cli.overrides.compose import load
from rlvr.runtime.planning.sharing import computed_tokens

# Two updates of 16 samples of 4 prompts, sequences of 100 + 50 tokens.
ARGUMENTS = (
    "recipe=grpo", "data.prompts_per_step=8", "rollout.samples_per_prompt=4", "learner.updates_per_step=2",
    "data.max_prompt_tokens=100", "rollout.max_response_tokens=50", "model.max_length=150",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "samples", "computed", "held"),
    [
        ((), 16, 16 * 50 + 4 * 100, 16 * 100),
        ((), 6, 6 * 50 + 4 * 100, 6 * 100),  # no more prompts than the update has
        ((), 4, 4 * 150, 0),  # each may have a prompt of its own
        (("learner.share_prompts=false",), 16, 16 * 150, 0),
        (("model.gradient_checkpointing=true",), 16, 16 * 150, 0),  # whole sequences are computed again
    ],
)
def test_tokens_of_a_micro_batch(more: tuple[str, ...], samples: int, computed: int, held: int) -> None:
    cfg = load([*ARGUMENTS, "learner.share_prompts=true", *more])
    assert computed_tokens(cfg, samples * 150, samples) == (pytest.approx(computed), pytest.approx(held))
