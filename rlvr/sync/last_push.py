"""What the engines were sent last, and what of it has changed since. Pure torch and numpy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from rlvr.sync.gloo import ParamInfo, as_announced
from rlvr.sync.patch import Bits, apply_patch, bits_of, difference, least_bytes, read_patch

PIECE = 1 << 21  # elements compared at once: the places of those that changed take 8 bytes each in passing


@dataclass(frozen=True, slots=True)
class ChangedPiece:
    """What has changed in up to `PIECE` neighbouring elements of a parameter."""

    name: str
    start: int  # its first element in the flat parameter
    data: torch.Tensor  # as `Patch.written` writes it


@dataclass(frozen=True, slots=True)
class WeightChange:
    """What new weights change."""

    share: float | None  # of the elements; None: there were no old ones
    pieces: (
        tuple[ChangedPiece, ...] | None
    )  # None: written so, they would take at least as much as all weights

    @property
    def bytes(self) -> int:
        """Of the pieces."""
        return sum(piece.data.numel() for piece in self.pieces or ())


class LastPush:
    """A copy on the host of every parameter, in the precision in which it was sent."""

    def __init__(self, infos: Sequence[ParamInfo]) -> None:
        self.infos = list(infos)
        self.whole_bytes = sum(info.nbytes for info in infos)
        self._held: dict[str, torch.Tensor] = {}

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """The copy."""
        return iter(self._held.items())

    def take(self, tensors: Iterator[tuple[str, torch.Tensor]]) -> WeightChange:
        """Make the copy one of these, which must come as the infos say; returns what that changed.

        Raises:
            SyncError: another name or shape.
        """
        first, pieces, changed, room = not self._held, list[ChangedPiece](), 0, self.whole_bytes
        for info, tensor in as_announced(tensors, self.infos):
            new = tensor.detach().to("cpu", info.torch_dtype).contiguous()
            if first:
                self._held[info.name] = new.clone()
                continue
            old, bits = bits_of(self._held[info.name]), bits_of(new)
            for start in range(0, len(bits), PIECE):
                part = slice(start, start + PIECE)
                count, data = _update(old[part], bits[part], room)
                changed += count
                if data is not None:
                    pieces.append(ChangedPiece(info.name, start, data))
                    room -= data.numel()
                elif count:  # no more than a count from here on
                    room = 0
                    pieces.clear()
        elements = sum(info.numel for info in self.infos)
        share = None if first else changed / max(1, elements)
        return WeightChange(share, tuple(pieces) if room > 0 and not first else None)


def _update(old: Bits, new: Bits, room: int) -> tuple[int, torch.Tensor | None]:
    """Bring `old` to `new`; how many elements that changed, and which, where fewer bytes than `room` say so."""
    count = int(np.count_nonzero(old != new))
    if count == 0:
        return 0, None
    if least_bytes(count, old.itemsize) >= room:
        old[:] = new
        return count, None
    patch = difference(old, new)
    apply_patch(patch, old)
    data = patch.written()
    return count, data if data.numel() < room else None


def put_piece(piece: ChangedPiece, tensor: torch.Tensor) -> None:
    """Bring a parameter's copy, one piece of memory on the host, to what the piece says, in place.

    Raises:
        ValueError: the bytes are no patch of it.
    """
    bits = bits_of(tensor)[piece.start : piece.start + PIECE]
    apply_patch(read_patch(piece.data, tensor.element_size()), bits)
