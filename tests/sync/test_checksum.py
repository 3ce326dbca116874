"""Checksums of weights: exact integers over bytes, and what is said where two sides differ."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlvr.errors import WeightsError
from rlvr.sync import checksum as module
from rlvr.sync.checksum import Checksums, LoadedWeights, check_loaded, checksum

DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.int8)


def number(tensor: torch.Tensor) -> int:
    return int(checksum(tensor))


def in_python(tensor: torch.Tensor) -> int:
    """The same with integers of any size."""
    data = tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes()
    data += bytes(-len(data) % 4)
    total = tensor.numel()
    for i, word in enumerate(np.frombuffer(data, dtype="<i4").tolist()):
        total += word * (2 * i + 1)
    return (total + 2**63) % 2**64 - 2**63


def test_by_hand():
    assert number(torch.tensor([5, -2, 7], dtype=torch.int32)) == 3 + 5 * 1 - 2 * 3 + 7 * 5
    assert number(torch.zeros(0)) == 0
    assert number(torch.zeros(4)) != number(torch.zeros(5))


@given(
    st.lists(st.integers(1, 7), max_size=3), st.sampled_from(DTYPES), st.integers(0, 999), st.integers(1, 9)
)
def test_equal_to_integers_of_any_size(shape, dtype, seed, chunk):
    generator = torch.Generator().manual_seed(seed)
    tensor = (torch.randn(shape, generator=generator) * 50).to(dtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CHUNK", chunk)
        patch.setattr(module, "_CHUNK_ON_GPU", chunk)
        assert number(tensor) == in_python(tensor)
        words = tensor.view(-1).view(torch.uint8)
        words = torch.cat([words, words.new_zeros(-len(words) % 4)]).view(torch.int32)
        assert int(module._weighted_on_gpu(words)) + tensor.numel() == in_python(tensor)
    assert number(tensor) == in_python(tensor)


@pytest.mark.parametrize("word", [2**31 - 1, -(2**31)])
def test_sums_beyond_64_bits_go_on_from_the_other_end_on_every_device(word):
    n = 2**17 + 5  # the odd numbers below 2 n add up to n^2
    expected = (n + word * n * n + 2**63) % 2**64 - 2**63
    tensor = torch.full((n,), word, dtype=torch.int32)
    assert number(tensor) == expected
    assert int(module._weighted_on_gpu(tensor) + n) == expected


@given(st.data(), st.sampled_from(DTYPES[:3]), st.integers(0, 999))
def test_one_bit_or_two_words_exchanged_change_it(data, dtype, seed):
    tensor = torch.randn(23, generator=torch.Generator().manual_seed(seed)).to(dtype)
    flipped = tensor.clone()
    raw = flipped.view(torch.uint8)
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert number(flipped) != number(tensor)
    i, j = data.draw(st.lists(st.integers(0, 22), min_size=2, max_size=2, unique=True))
    exchanged = tensor.clone()
    exchanged[[i, j]] = tensor[[j, i]]
    assert (number(exchanged) == number(tensor)) == bool(tensor[i] == tensor[j])


def test_of_values_not_of_memory():
    """A transposed view and one row of many are what they show; a step below bf16's resolution is none."""
    tensor = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
    assert number(tensor.t()) == number(tensor.t().contiguous()) != number(tensor)
    assert number(tensor[2]) == number(tensor[2].clone()) == number(torch.nn.Parameter(tensor[2]))
    whole = torch.arange(16, dtype=torch.int8)
    for offset in range(8):  # within a bucket, behind a parameter of any length
        assert number(whole[offset : offset + 8]) == number(whole[offset : offset + 8].clone())
    weights = (
        1 + torch.arange(50) / 64
    )  # each a number of bf16, to which the next one within half a step is rounded
    assert number((weights + 1e-5).bfloat16()) == number(weights.bfloat16())
    assert number(weights + 1e-5) != number(weights)


def test_threads_do_not_matter():
    tensor, threads = torch.randn(300_001), torch.get_num_threads()
    found = set()
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        found.add(number(tensor))
    torch.set_num_threads(threads)
    assert found == {in_python(tensor)}


def test_tensors_pass_as_they_are_noted():
    sums, tensors = Checksums(), {"a": torch.ones(2), "b": torch.zeros(3)}
    assert dict(sums.noting(iter(tensors.items()))) == tensors
    assert sums.numbers() == {name: number(tensor) for name, tensor in tensors.items()}
    assert Checksums().numbers() == {}


SENT = {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}
GOOD = LoadedWeights(7, (SENT, SENT))


def test_engines_that_agree_pass():
    check_loaded(SENT, [GOOD, LoadedWeights(7, (dict(SENT),))], 7)


@pytest.mark.parametrize(
    ("loaded", "said"),
    [
        (LoadedWeights(7, ({k: v for k, v in SENT.items() if k != "b"},)), "engine-1: not received b."),
        (LoadedWeights(7, (SENT | {"b": 9},)), "engine-1: other values in b."),
        (LoadedWeights(7, (SENT, SENT | {"b": 9})), "engine-1: other values in b."),
        (LoadedWeights(7, (dict.fromkeys(SENT, 0),)), "other values in a, b, c and 2 more parameters."),
        (LoadedWeights(7, (SENT | {"x": 1},)), "engine-1: not the learner's x."),
        (LoadedWeights(6, (SENT,)), "engine-1: it says that it has version 6."),
        (LoadedWeights(7, (SENT,), ("qkv",)), "engine-1: kept the old values of qkv."),
        (LoadedWeights(7, ({},)), "engine-1: not received a, b, c and 2 more parameters."),
    ],
)
def test_one_that_differs_is_named_with_version_and_parameters(loaded, said):
    with pytest.raises(WeightsError, match="after the push of weight version 7") as raised:
        check_loaded(SENT, [GOOD, loaded], 7)
    assert said in str(raised.value)
    assert "engine-0" not in str(raised.value)
