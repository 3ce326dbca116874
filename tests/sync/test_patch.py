"""What changed in a tensor, written as bytes and read again: against the tensors themselves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from rlvr.sync.patch import Patch, apply_patch, bits_of, difference, least_bytes, read_patch

DTYPES = (
    torch.float64,
    torch.float32,
    torch.bfloat16,
    torch.float16,
    torch.float8_e4m3fn,
    torch.int8,
    torch.int64,
    torch.bool,
)


def carried(old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    """`new` as somebody has it who holds `old` and is sent a patch."""
    held = old.clone(memory_format=torch.contiguous_format)
    data = difference(bits_of(old), bits_of(new)).written()
    # In a bucket a patch begins anywhere.
    shifted = torch.cat([torch.zeros(3, dtype=torch.uint8), data])[3:]
    apply_patch(read_patch(shifted, old.element_size()), bits_of(held))
    return held


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    raw = [t.contiguous().view(-1).view(torch.uint8) for t in (a, b)]
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(*raw)


@given(
    st.lists(st.integers(0, 7), max_size=3),
    st.sampled_from(DTYPES),
    st.sampled_from([0.0, 0.01, 0.2, 1.0]),
    st.integers(0, 9999),
)
def test_whoever_has_the_old_bits_gets_the_new_ones(shape, dtype, share, seed):
    generator = torch.Generator().manual_seed(seed)
    size = torch.Size(shape).numel() * dtype.itemsize
    old = torch.randint(0, 256, (size,), dtype=torch.uint8, generator=generator)  # NaNs of all kinds as well
    new = torch.where(torch.rand(size, generator=generator) < share, old ^ 1, old)
    if dtype is torch.bool:
        old, new = old % 2, new % 2
    old, new = old.view(dtype).view(shape), new.view(dtype).view(shape)
    assert same_bits(carried(old, new), new)
    assert len(difference(bits_of(new), bits_of(new)).index) == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_signs_of_zero_and_payloads_of_nan_are_bits_like_others(dtype):
    nan = torch.tensor([0x7FC1], dtype=torch.int16).view(torch.bfloat16)
    other = torch.tensor([0x7FC2], dtype=torch.int16).view(torch.bfloat16)
    parts = (torch.zeros(1), nan, nan, torch.tensor([1.0]))
    old = torch.cat([part.to(torch.bfloat16) for part in parts])
    new = torch.cat([part.to(torch.bfloat16) for part in (-torch.zeros(1), nan, other, torch.tensor([1.0]))])
    if dtype is torch.float32:  # the same bits in the upper half
        old, new = ((t.view(torch.int16).int() << 16).view(torch.float32) for t in (old, new))
    assert difference(bits_of(old), bits_of(new)).index.tolist() == [0, 2]
    assert same_bits(carried(old, new), new)


@example([10_000_000])  # in words of four bytes
@given(st.lists(st.sampled_from([0, 1, 254, 255, 256, 65_534, 65_535, 65_536, 70_000, 600]), max_size=12))
def test_gaps_of_every_length(gaps):
    index = np.cumsum(np.asarray(gaps, dtype=np.int64) + 1) - 1
    patch = Patch(index, np.arange(len(index), dtype=np.uint16))
    found = read_patch(patch.written(), 2)
    assert found.index.tolist() == index.tolist()
    assert found.value.tolist() == patch.value.tolist()


def test_sizes_by_hand():
    """bf16: 16 bytes, 2 for a value, 1 for a gap below 255; wider gaps where they are far apart."""

    def size(places: list[int]) -> int:
        return Patch(np.asarray(places, np.int64), np.zeros(len(places), np.uint16)).written().numel()

    assert size([]) == least_bytes(0, 2) == 16
    assert size([0, 1, 255]) == least_bytes(3, 2) == 16 + 3 * (2 + 1)
    assert size([0, 256 + 1]) == 16 + 2 * 2 + 3  # one gap of 256 takes two bytes
    assert size([3000]) == 16 + 2 + 2
    assert size([10_000_000]) == 16 + 2 + 4


def test_a_view_is_what_it_shows_and_is_patched_where_it_lies():
    old = torch.arange(12.0).reshape(3, 4)
    assert same_bits(carried(old.t(), old.t() + 1), old.t() + 1)
    apply_patch(difference(bits_of(old), bits_of(old * 2)), bits_of(old))
    assert torch.equal(old, torch.arange(0.0, 24.0, 2).reshape(3, 4))


def test_bytes_that_are_no_patch_are_refused():
    good = difference(bits_of(torch.zeros(600)), bits_of(torch.ones(600))).written()
    with pytest.raises(ValueError, match="shorter than its header"):
        read_patch(good[:9], 4)
    with pytest.raises(ValueError, match="599 places"):
        read_patch(good[:-1], 4)
    with pytest.raises(ValueError, match=r"says 600 values and gaps of 1 bytes"):
        read_patch(good[:1000], 4)
    with pytest.raises(ValueError, match="place 599 of 599 elements"):
        apply_patch(read_patch(good, 4), bits_of(torch.zeros(599)))
