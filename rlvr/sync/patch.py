"""What has changed in a tensor, as few bytes: the new values, and how far each lies behind the one before it. Pure.

Elements are compared by their bits, so -0.0 differs from 0.0 and a NaN is equal to itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Bits = NDArray[Any]  # [elements] unsigned integers of an element's size
# How gaps are written. The largest number means: so many elements unchanged, and the gap goes on.
_WIDTHS: tuple[type[np.unsignedinteger[Any]], ...] = (np.uint8, np.uint16, np.uint32)
_HEADER = 16  # bytes: number of values, bytes of a gap


def bits_of(tensor: torch.Tensor) -> Bits:
    """[elements] the bits in the order of its values; in its own memory where it is one piece on the host."""
    flat = tensor.detach().to("cpu").contiguous().view(-1).view(torch.uint8).numpy()
    return flat.view(f"u{tensor.element_size()}")


@dataclass(frozen=True, slots=True)
class Patch:
    """The elements of a tensor that have new bits."""

    index: NDArray[np.int64]  # [changed], rising
    value: Bits  # [changed]

    def written(self) -> torch.Tensor:
        """[bytes] uint8: a header, the values, then how many elements lie unchanged before each, in the least width."""
        gaps = np.diff(self.index, prepend=-1) - 1
        width = min(_WIDTHS, key=lambda width: _size(gaps, width))
        header = np.asarray([len(self.index), np.dtype(width).itemsize], dtype=np.int64)
        parts = (header, self.value, _write_gaps(gaps, width))
        return torch.from_numpy(np.concatenate([part.view(np.uint8) for part in parts]))


def least_bytes(changed: int, element_size: int) -> int:
    """What `Patch.written` takes at the least."""
    return _HEADER + changed * (element_size + 1)


def difference(old: Bits, new: Bits) -> Patch:
    """What turns `old` into `new`."""
    index = np.flatnonzero(old != new)
    return Patch(index, new[index])


def read_patch(data: torch.Tensor, element_size: int) -> Patch:
    """What `Patch.written` wrote, of elements of so many bytes.

    Raises:
        ValueError: the bytes are no patch.
    """
    raw = data.numpy()
    if len(raw) < _HEADER:
        raise ValueError(f"a patch of {len(raw)} bytes: shorter than its header")
    count, width = raw[:_HEADER].copy().view(np.int64).tolist()
    end = _HEADER + count * element_size
    if count < 0 or width not in (1, 2, 4) or len(raw) < end or (len(raw) - end) % width:
        raise ValueError(f"a patch of {len(raw)} bytes that says {count} values and gaps of {width} bytes")
    gaps = raw[end:].copy().view(f"u{width}")  # copies: what arrives may lie at any address
    index = _read_gaps(gaps)
    if len(index) != count:
        raise ValueError(f"a patch of {count} values for {len(index)} places")
    return Patch(index, raw[_HEADER:end].copy().view(f"u{element_size}"))


def apply_patch(patch: Patch, bits: Bits) -> None:
    """Put the new values into `bits`, in place.

    Raises:
        ValueError: a place lies beyond the end.
    """
    if len(patch.index) and patch.index[-1] >= len(bits):
        raise ValueError(f"a patch for place {patch.index[-1]} of {len(bits)} elements")
    bits[patch.index] = patch.value


def _largest(width: type[np.unsignedinteger[Any]]) -> int:
    return int(np.iinfo(width).max)


def _size(gaps: NDArray[np.int64], width: type[np.unsignedinteger[Any]]) -> int:
    words = len(gaps) + int((gaps // _largest(width)).sum())
    return words * np.dtype(width).itemsize


def _write_gaps(gaps: NDArray[np.int64], width: type[np.unsignedinteger[Any]]) -> Bits:
    full, rest = np.divmod(gaps, _largest(width))
    ends = np.cumsum(full + 1)  # behind the last word of each gap
    words = np.full(ends[-1] if len(ends) else 0, _largest(width), dtype=width)
    words[ends - 1] = rest
    return words


def _read_gaps(words: Bits) -> NDArray[np.int64]:
    ends = np.flatnonzero(words != np.iinfo(words.dtype).max)
    behind = np.cumsum(words, dtype=np.int64)[ends]
    return behind + np.arange(len(ends))
