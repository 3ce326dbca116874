"""What a worker of an engine was sent last, where it holds a copy: the receiving side of `last_push`; without vLLM."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain

import torch

from rlvr.errors import WeightsError
from rlvr.sync.last_push import ChangedPiece, put_piece

Named = tuple[str, torch.Tensor]


class HeldCopy:
    """A copy on the host of every parameter, named after the push that it came with once that is in use."""

    def __init__(self) -> None:
        self.name: str | None = None  # of the push; None: there is no copy, or part of another push is in it
        self.tensors: dict[str, torch.Tensor] = {}
        self._coming: str | None = None

    def load_whole(
        self, buckets: Iterable[list[Named]], load: Callable[[Iterator[Named]], object], name: str | None
    ) -> None:
        """Load tensors as they arrive, and hold them where the push has a name."""
        self.name, self._coming, self.tensors = None, name, {}
        for bucket in buckets:
            if name is not None:
                self.tensors |= bucket
            load(iter(bucket))

    def load_changes(
        self,
        buckets: Iterable[list[Named]],
        load: Callable[[Iterator[Named]], object],
        name: str | None,
        base: str,
        starts: Sequence[int],
    ) -> None:
        """Patch the copy by pieces, which begin at `starts`, and load all of it.

        Layers are loaded whole, and what is loaded is what the checksums are taken of.

        Raises:
            WeightsError: the copy is not that of the push `base`.
        """
        if self.name is None or self.name != base:
            raise WeightsError(
                f"weight transfer: got what has changed since push {base}, and holds {self.name}"
            )
        self.name, self._coming = None, name
        for (parameter, data), start in zip(chain.from_iterable(buckets), starts, strict=True):
            put_piece(ChangedPiece(parameter, start, data), self.tensors[parameter])
        load(iter(self.tensors.items()))

    def in_use(self) -> None:
        """What came last is in use."""
        self.name = self._coming
