"""Are an engine's weights those of the learner: a checksum of every parameter on both sides of a push. Pure torch.

Log-probs would tell as well, but by a difference in size; bytes are equal or they are not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlvr.errors import WeightsError

_CHUNK = 1 << 14  # words at once: temporary arrays of 128 KiB, which stay in a core's cache
_CHUNK_ON_GPU = 1 << 22
_SHOWN = 3  # names in a message


def checksum(tensor: Tensor) -> Tensor:
    """Scalar int64 on the tensor's device: number of elements + sum over 4-byte words w_i of w_i (2 i + 1), mod 2^64.

    Of the bytes in their order, whatever the strides. Sums of integers are exact, so the same bytes give the same
    number on every device and with any number of threads. A change of one word, or two words exchanged, always
    changes it.
    """
    flat = tensor.detach().contiguous().view(-1).view(torch.uint8)
    if surplus := len(flat) % 4:
        flat = torch.cat([flat, flat.new_zeros(4 - surplus)])
    elif flat.storage_offset() % 4:  # within a bucket, behind a parameter of odd length
        flat = flat.clone()
    words = flat.view(torch.int32)
    if words.device.type == "cpu":
        total = (tensor.numel() + _weighted(words.numpy()) + 2**63) % 2**64 - 2**63
        return torch.tensor(total, dtype=torch.int64)
    return _weighted_on_gpu(words) + tensor.numel()


def _weighted(words: NDArray[np.int32]) -> int:
    """sum of w_i (2 i + 1), with numpy: torch would wake all its threads for every chunk, and both sides of a push
    work at once."""
    odd = np.arange(1, 2 * min(_CHUNK, len(words)) + 1, 2, dtype=np.int64)
    total = 0
    for start in range(0, len(words), _CHUNK):
        part = words[start : start + _CHUNK].astype(np.int64)
        total += int(part @ odd[: len(part)]) + 2 * start * int(part.sum())
    return total


def _weighted_on_gpu(words: Tensor) -> Tensor:
    """The same, mod 2^64, on the tensor's device and without waiting for it."""
    odd = torch.arange(1, 2 * min(_CHUNK_ON_GPU, len(words)) + 1, 2, device=words.device)
    total = torch.zeros((), dtype=torch.int64, device=words.device)
    for start in range(0, len(words), _CHUNK_ON_GPU):
        part = words[start : start + _CHUNK_ON_GPU].to(torch.int64)
        total = total + (part * odd[: len(part)]).sum() + 2 * start * part.sum()
    return total


class Checksums:
    """The checksums of parameters by name, brought to the host only when they are asked for."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}

    def noting(self, tensors: Iterator[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
        """The same tensors, each noted as it passes."""
        for name, tensor in tensors:
            self._sums[name] = checksum(tensor)
            yield name, tensor

    def numbers(self) -> dict[str, int]:
        """Each parameter's checksum."""
        values = torch.stack(list(self._sums.values())).tolist() if self._sums else []
        return dict(zip(self._sums, values, strict=True))


@dataclass(frozen=True, slots=True)
class LoadedWeights:
    """What an engine loaded in its last weight update."""

    version: int  # that it gives them
    checksums: tuple[
        Mapping[str, int], ...
    ]  # of what each of its workers was given to load, by the checkpoint's names
    not_loaded: tuple[str, ...] = field(default=())  # its own parameters into which nothing was loaded


def check_loaded(sent: Mapping[str, int], engines: Sequence[LoadedWeights], version: int) -> None:
    """Compare what every engine has loaded with the learner's weights `version`.

    Raises:
        WeightsError: with every engine that differs, the version that it has and the parameters.
    """
    problems = []
    for number, loaded in enumerate(engines):
        found = [] if loaded.version == version else [f"it says that it has version {loaded.version}"]
        for sums in loaded.checksums:
            groups = {
                "not received": sent.keys() - sums.keys(),
                "not the learner's": sums.keys() - sent.keys(),
                "other values in": {name for name in sent.keys() & sums.keys() if sent[name] != sums[name]},
            }
            found += [f"{what} {_named(names)}" for what, names in groups.items() if names]
        if loaded.not_loaded:
            found.append(f"kept the old values of {_named(set(loaded.not_loaded))}")
        if found:
            problems.append(f"engine-{number}: {'; '.join(dict.fromkeys(found))}")
    if problems:
        raise WeightsError(
            f"after the push of weight version {version} the engines do not have the learner's weights: "
            f"{'. '.join(problems)}. Nothing was generated with them; run.resume=auto goes on from the last checkpoint."
        )


def _named(names: set[str]) -> str:
    shown = sorted(names)[:_SHOWN]
    more = f" and {len(names) - len(shown)} more parameters" if len(names) > len(shown) else ""
    return ", ".join(shown) + more
