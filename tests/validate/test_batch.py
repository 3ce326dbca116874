"""The printed arithmetic of a batch is right."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rlvr.validate import validate
from rlvr.validate.batch import batch_plan
from tests.helpers.validating import config, refusal


def test_batch_arithmetic_by_hand():
    cfg = config(
        data__prompts_per_step=8,
        rollout__samples_per_prompt=16,
        learner__updates_per_step=4,
        learner__workers=2,
        learner__tokens_per_micro_batch=480,
        data__max_prompt_tokens=32,
        rollout__max_response_tokens=64,
        model__max_length=128,
    )
    # 128 samples, 32 an update, 16 a rank; 480 // 96 = 5 sequences fit, so 4 micro-batches.
    assert str(batch_plan(cfg)) == (
        "each step: 8 prompts -> 128 samples -> 4 updates of 32 samples -> on 2 rank(s) at most "
        "4 micro-batch(es) an update"
    )
    cfg.model.max_length = 64  # of which 7 fit
    assert batch_plan(cfg).micro_batches == 3


@given(
    prompts=st.integers(1, 40),
    samples=st.integers(1, 20),
    updates=st.integers(1, 9),
    ranks=st.integers(1, 5),
    budget=st.integers(128, 4096),
)
def test_no_update_needs_more_micro_batches_than_announced(prompts, samples, updates, ranks, budget):
    cfg = config(
        data__prompts_per_step=prompts,
        rollout__samples_per_prompt=samples,
        learner__updates_per_step=updates,
        learner__workers=ranks,
        learner__tokens_per_micro_batch=budget,
    )
    plan = batch_plan(cfg)
    longest = cfg.data.max_prompt_tokens + cfg.rollout.max_response_tokens
    assert plan.samples == prompts * samples
    assert plan.samples_per_update * updates >= plan.samples
    room = plan.micro_batches * max(1, budget // longest) * ranks
    assert room >= plan.samples_per_update


def test_ranks_that_share_sequences_divide_the_workers_and_count_as_one():
    assert "learner.workers=3 do not divide into groups of so many" in refusal(
        config(learner__workers=3, learner__sequence_parallel=2)
    )
    plan, _ = validate(config(learner__workers=4, learner__sequence_parallel=2))
    assert (plan.ranks, plan.samples_per_update, plan.micro_batches) == (2, 64, 1)
