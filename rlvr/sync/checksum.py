"""Are an engine's weights those of the learner: a checksum of every parameter on both sides of a push. Pure torch.

Log-probs would tell as well, but by a difference in size; bytes are equal or they are not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from rlvr.errors import WeightsError

_CHUNK = 1 << 16  # words at once: temporary tensors of half a megabyte, which stay in a core's cache
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
    chunk = _CHUNK if words.device.type == "cpu" else _CHUNK_ON_GPU
    odd = torch.arange(1, 2 * min(chunk, len(words)) + 1, 2, device=words.device)
    total = torch.full((), tensor.numel(), dtype=torch.int64, device=words.device)
    for start in range(0, len(words), chunk):
        part = words[start : start + chunk].to(torch.int64)
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
