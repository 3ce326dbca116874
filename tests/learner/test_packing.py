"""Packing: ids and order survive, and every split is a partition whatever the lengths."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.errors import ConfigError
from rlvr.learner.packing import (
    aggregation_weights,
    budget_split,
    micro_batch,
    mini_batches,
    pack,
    plan_micro_batches,
    sequence_weights,
    shard,
)
from rlvr.types import Batch, Group, Span, TokenSignals
from tests.helpers.records import prompt, random_batch, sample

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=25)


def three_groups() -> tuple[Group, ...]:
    """Groups of 2, 1 and 2 samples with prompts and responses of different lengths."""
    rows = [
        ("a", (1, 2), [((10, 11, 12), 0.5), ((13,), -0.5)]),
        ("b", (3,), [((14, 15), 1.0)]),
        ("c", (4, 5, 6), [((16,), 2.0), ((17, 18, 19, 20), -2.0)]),
    ]
    return tuple(
        Group(
            prompt(name, ids),
            tuple(
                sample(
                    f"{name}/{i}",
                    tokens,
                    advantage=advantage,
                    reward=10 * advantage,
                    in_loss=advantage > 0,
                    version=i,
                    logprobs=[-t / 100 for t in tokens],
                )
                for i, (tokens, advantage) in enumerate(samples)
            ),
        )
        for name, ids, samples in rows
    )


def test_tokens_carry_the_version_of_their_span():
    spans = (Span(3, 0), Span(4, 2, own_context=False))
    own = replace(sample("a/0", (5, 6, 7)), spans=spans)
    batch = pack([Group(prompt("a"), (own, sample("a/1", (8,), version=4)))])
    np.testing.assert_array_equal(batch.weight_version, [3, 3, 4, 4])
    np.testing.assert_array_equal(batch.own_context, [True, True, False, True])
    np.testing.assert_array_equal(batch.select(np.asarray([1])).weight_version, [4])
    assert own.weight_version == 3


def test_pack_keeps_ids_and_order():
    batch = pack(three_groups())
    assert [ids.tolist() for ids in batch.input_ids] == [
        [1, 2, 10, 11, 12],
        [1, 2, 13],
        [3, 14, 15],
        [4, 5, 6, 16],
        [4, 5, 6, 17, 18, 19, 20],
    ]
    np.testing.assert_array_equal(batch.prompt_lengths, [2, 2, 1, 3, 3])
    np.testing.assert_array_equal(batch.response_lengths, [3, 1, 2, 1, 4])
    np.testing.assert_array_equal(batch.group_index, [0, 0, 1, 2, 2])
    np.testing.assert_array_equal(batch.weight_version, np.repeat([0, 1, 0, 0, 1], [3, 1, 2, 1, 4]))
    assert batch.own_context.all()
    np.testing.assert_array_equal(batch.in_loss, [True, False, True, True, False])
    np.testing.assert_allclose(batch.advantage, [0.5, -0.5, 1, 2, -2])
    np.testing.assert_allclose(batch.reward, [5, -5, 10, 20, -20])
    np.testing.assert_allclose(batch.rollout_logp, -np.arange(10, 21) / 100, rtol=1e-6)
    assert (batch.size, batch.tokens) == (5, 11)
    np.testing.assert_array_equal(batch.offsets, [0, 3, 4, 6, 7, 11])
    np.testing.assert_array_equal(batch.sequence_of_token, [0, 0, 0, 1, 2, 2, 3, 4, 4, 4, 4])
    np.testing.assert_array_equal(batch.position_of_token, [0, 1, 2, 0, 0, 1, 0, 0, 1, 2, 3])


def test_micro_batch_points_at_the_response_tokens():
    batch = pack(three_groups())
    rows = np.asarray([4, 1, 2])
    micro = micro_batch(batch, rows)
    assert micro.input_ids.shape == (3, 7)
    assert micro.target.tolist() == [17, 18, 19, 20, 13, 14, 15]
    # The output at `column` predicts the next id, which is the target.
    assert micro.input_ids[micro.row, micro.column + 1].tolist() == micro.target.tolist()
    assert micro.column.tolist() == [2, 3, 4, 5, 1, 0, 1]
    assert micro.row.tolist() == [0, 0, 0, 0, 1, 2, 2]
    assert micro.sequence.tolist() == [4, 4, 4, 4, 1, 2, 2]
    # `token` finds the same tokens in the flat arrays.
    np.testing.assert_allclose(batch.rollout_logp[micro.token], -micro.target.numpy() / 100, rtol=1e-6)


@given(data=st.data(), responses=LENGTHS, seed=st.integers(0, 99))
def test_micro_batch_decodes_back(data, responses, seed):
    prompts = data.draw(st.lists(st.integers(1, 9), min_size=len(responses), max_size=len(responses)))
    batch = random_batch(prompts, responses, seed=seed)
    rows = np.asarray(data.draw(st.lists(st.integers(0, batch.size - 1), min_size=1, unique=True)))
    micro = micro_batch(batch, rows)
    width = micro.input_ids.shape[1]
    assert width == max(len(batch.input_ids[i]) for i in rows)
    for place, i in enumerate(rows):
        ids = micro.input_ids[place].numpy()
        length = len(batch.input_ids[i])
        np.testing.assert_array_equal(ids[:length], batch.input_ids[i])
        assert not ids[length:].any()
        own = (micro.row == place).numpy()
        np.testing.assert_array_equal(micro.target.numpy()[own], batch.input_ids[i][prompts[i] :])
        np.testing.assert_array_equal(
            micro.token.numpy()[own], np.arange(batch.offsets[i], batch.offsets[i + 1])
        )


# Splits


def is_partition(parts: list[np.ndarray], size: int) -> bool:
    """Whether the parts hold every index below `size` once."""
    return sorted(int(i) for part in parts for i in part) == list(range(size))


@given(size=st.integers(1, 60), updates=st.integers(1, 12), seed=st.integers(0, 99))
def test_mini_batches_are_a_random_even_partition(size, updates, seed):
    parts = mini_batches(size, updates, seed)
    assert is_partition(parts, size)
    assert len(parts) == min(updates, size)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    again = mini_batches(size, updates, seed)
    assert all((a == b).all() for a, b in zip(parts, again, strict=True))


def test_mini_batches_differ_by_seed():
    assert any(
        (a != b).any() for a, b in zip(mini_batches(64, 4, seed=1), mini_batches(64, 4, seed=2), strict=True)
    )


@given(lengths=LENGTHS, ranks=st.integers(1, 8))
def test_shard_is_a_partition_with_even_counts_and_close_loads(lengths, ranks):
    sizes = np.asarray(lengths)
    parts = shard(sizes, ranks)
    assert len(parts) == ranks
    assert is_partition(parts, len(lengths))
    counts = [len(p) for p in parts]
    assert max(counts) - min(counts) <= 1
    loads = [int(sizes[p].sum()) for p in parts]
    assert max(loads) - min(loads) <= max(lengths)


def test_shard_deals_back_and_forth():
    # Longest first 9 8 7 6 5 4: dealt 0 1 1 0 0 1, so both ranks get close to half.
    first, second = shard(np.asarray([4, 9, 8, 5, 7, 6]), 2)
    assert sorted(first.tolist()) == [1, 3, 5]  # 9 + 6 + 5
    assert sorted(second.tolist()) == [0, 2, 4]  # 8 + 7 + 4


@given(lengths=LENGTHS, room=st.integers(0, 200))
def test_budget_split_is_a_partition_within_the_budget(lengths, room):
    sizes, budget = np.asarray(lengths), max(lengths) + room
    parts = budget_split(sizes, budget)
    assert is_partition(parts, len(lengths))
    assert all(len(p) * sizes[p].max() <= budget for p in parts)


def test_budget_split_fills_micro_batches():
    # Longest first: 10 + 9 fit in 20 when padded to 10; 4, 4, 3, 2 fit when padded to 4.
    parts = budget_split(np.asarray([3, 9, 4, 10, 2, 4]), 20)
    assert [sorted(p.tolist()) for p in parts] == [[1, 3], [0, 2, 4, 5]]


def test_budget_split_names_the_key_of_a_sequence_that_is_too_long():
    with pytest.raises(ConfigError, match=r"learner\.tokens_per_micro_batch=7.*9 tokens"):
        budget_split(np.asarray([3, 9]), 7)


@given(
    responses=LENGTHS,
    ranks=st.integers(1, 6),
    room=st.integers(0, 100),
    keep=st.integers(1, 25),
    seed=st.integers(0, 99),
)
def test_every_rank_gets_as_many_micro_batches_and_every_row_is_counted_once(
    responses, ranks, room, keep, seed
):
    batch = random_batch([2] * len(responses), responses, seed=seed)
    rows = np.random.default_rng(seed).permutation(batch.size)[:keep]
    lengths, budget = np.asarray(responses) + 2, max(responses) + 2 + room
    plans = [plan_micro_batches(batch, rows, ranks=ranks, rank=r, budget=budget) for r in range(ranks)]
    assert len({len(plan) for plan in plans}) == 1
    counted = [int(i) for plan in plans for part in plan for i in part.rows if not part.padding]
    assert sorted(counted) == sorted(rows.tolist())
    for part in (part for plan in plans for part in plan):
        assert len(part.rows) * lengths[part.rows].max() <= budget
        assert not part.padding or lengths[part.rows].tolist() == [lengths[rows].min()]


# Aggregation weights


def total(lengths: np.ndarray, weights: np.ndarray) -> float:
    """The sum over all tokens."""
    return float((weights.astype(np.float64) * lengths).sum())


@given(
    data=st.data(),
    lengths=st.lists(st.integers(0, 64), min_size=1, max_size=20),
    kind=st.sampled_from(["token_mean", "sequence_mean", "constant_length"]),
)
def test_aggregation_weights_sum(data, lengths, kind):
    flags = data.draw(st.lists(st.booleans(), min_size=len(lengths), max_size=len(lengths)))
    sizes, in_loss = np.asarray(lengths), np.asarray(flags)
    weights = aggregation_weights(sizes, in_loss, kind, 64)
    assert not weights[~in_loss].any()
    counted = in_loss & (sizes > 0)
    if not counted.any():
        assert not weights.any()
    elif kind == "constant_length":
        # Dr. GRPO: each sequence weighs its share of the longest allowed response.
        assert total(sizes, weights) == pytest.approx((sizes[counted] / 64).mean(), rel=1e-5)
    else:
        assert total(sizes, weights) == pytest.approx(1, rel=1e-5)


def test_aggregation_weights_by_hand():
    lengths, in_loss = np.asarray([1, 3, 4]), np.asarray([True, True, False])

    def weights(kind: str) -> list[float]:
        return aggregation_weights(lengths, in_loss, kind, 10).tolist()

    assert weights("token_mean") == pytest.approx([1 / 4, 1 / 4, 0])
    assert weights("sequence_mean") == pytest.approx([1 / 2, 1 / 6, 0])
    assert weights("constant_length") == pytest.approx([1 / 20, 1 / 20, 0])
    with pytest.raises(ConfigError, match=r"loss\.aggregation=mean: use one of token_mean"):
        weights("mean")
    for kind in ("token_mean", "sequence_mean", "constant_length"):
        assert aggregation_weights(np.asarray([1]), np.asarray([True]), kind, 1).tolist() == [1]


def test_sequences_outside_a_mini_batch_weigh_nothing():
    batch = random_batch([1, 1, 1], [4, 3, 1])
    found = sequence_weights(batch, np.asarray([2, 0]), "token_mean", 10)
    assert found.tolist() == pytest.approx([0.2, 0, 0.2])


@pytest.mark.parametrize("kind", ["token_mean", "sequence_mean", "constant_length"])
def test_everything_filtered_weighs_nothing(kind):
    assert not aggregation_weights(np.asarray([3, 5]), np.asarray([False, False]), kind, 8).any()


# Batch.select


def assert_same(found: Batch, expected: Batch) -> None:
    """Compare all fields of two batches."""
    for field in fields(Batch):
        a, b = getattr(found, field.name), getattr(expected, field.name)
        if field.name == "signals":
            a, b = a.present(), b.present()
            assert a.keys() == b.keys()
            for name in a:
                np.testing.assert_array_equal(a[name], b[name])
        elif field.name == "input_ids":
            assert [x.tolist() for x in a] == [x.tolist() for x in b]
        else:
            np.testing.assert_array_equal(a, b)


def test_select_takes_sequences_with_all_their_tokens():
    batch = pack(three_groups())
    flat = np.arange(11, dtype=np.float32)
    batch = replace(batch, signals=TokenSignals(old_logp=flat), token_weight=flat + 100)
    chosen = batch.select(np.asarray([3, 0]))
    assert [ids.tolist() for ids in chosen.input_ids] == [[4, 5, 6, 16], [1, 2, 10, 11, 12]]
    np.testing.assert_array_equal(chosen.signals.old_logp, [6, 0, 1, 2])
    np.testing.assert_array_equal(chosen.token_weight, [106, 100, 101, 102])
    np.testing.assert_array_equal(chosen.advantage, [2, 0.5])
    assert chosen.token_advantage is None
    assert chosen.signals.js_base is None


def test_select_of_everything_changes_nothing_and_of_nothing_is_empty():
    batch = random_batch([2, 3, 1], [4, 1, 5])
    assert_same(batch.select(np.arange(3)), batch)
    empty = batch.select(np.zeros(0, dtype=np.int64))
    assert (empty.size, empty.tokens) == (0, 0)


@given(responses=LENGTHS, seed=st.integers(0, 99))
def test_select_can_be_undone(responses, seed):
    batch = random_batch([3] * len(responses), responses, seed=seed)
    order = np.random.default_rng(seed).permutation(batch.size)
    assert_same(batch.select(order).select(np.argsort(order)), batch)
