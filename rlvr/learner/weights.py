"""The policy's weights on their way out of the learner: whole, with adapters merged, named as files name them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rlvr.config import Config
from rlvr.learner.deepspeed_api import gathered, whole_shape
from rlvr.learner.model.adapters import FOLDER, MergedPart, adapter_parameters, parts_of, save_adapter
from rlvr.learner.model.causal_lm import in_checkpoint_format, save_lm
from rlvr.sync.adapter import sends_adapter
from rlvr.sync.gloo import ParamInfo

Named = Iterator[tuple[str, torch.Tensor]]


@dataclass(frozen=True, slots=True)
class PolicyWeights:
    """The weights of one rank's policy, a tensor at a time.

    Under ZeRO-3 all ranks go through `named`, `adapters` and `to_send` together, and to the end: each tensor is
    gathered on all of them. A tensor may be the live parameter, which the next update changes.
    """

    cfg: Config
    lm: torch.nn.Module

    @property
    def _sharded(self) -> bool:
        return self.cfg.learner.shards_parameters

    @property
    def _lora(self) -> bool:
        return self.cfg.model.lora.rank > 0

    def named(self) -> Named:
        """Every whole parameter under its Hugging Face name, adapters merged into it."""
        for part in self._parts():
            with gathered(part.parameters, sharded=self._sharded):
                tensor = part.merged()
                # What was gathered is freed on leaving; a sum with its adapters is a tensor of its own.
                yield part.name, tensor.clone() if self._sharded and len(part.parameters) == 1 else tensor

    def adapters(self) -> Named:
        """A and B of every adapter, under the names of peft's files."""
        for name, parameter in adapter_parameters(self.lm):
            with gathered([parameter], sharded=self._sharded):
                yield name, parameter.detach().clone() if self._sharded else parameter.detach()

    def to_send(self) -> Named:
        """What a push sends: adapters alone, or all weights as a checkpoint names and splits them."""
        if sends_adapter(self.cfg):
            yield from self.adapters()
            return
        for name, tensor in self.named():
            yield from in_checkpoint_format(self.lm, name, tensor)

    def infos(self) -> list[ParamInfo]:
        """Names, dtypes and whole shapes of what a push sends, without gathering."""
        if sends_adapter(self.cfg):
            return [self._info(name, whole_shape(p)) for name, p in adapter_parameters(self.lm)]
        return [
            self._info(name, tuple(tensor.shape))
            for part in self._parts()
            for name, tensor in in_checkpoint_format(
                self.lm, part.name, torch.empty(whole_shape(part.parameters[0]), device="meta")
            )
        ]

    def export(self, folder: Path, *, writes: bool) -> None:
        """Have the rank that writes leave the policy in Hugging Face format; all ranks help to gather sharded ones.

        Raises:
            OSError: a full disk, say.
        """
        if not writes and not self._sharded:
            return
        weights = _on_host(self.named(), wanted=writes)
        adapters = _on_host(self.adapters(), wanted=writes) if self._lora else {}
        if writes:
            _export(self.lm, weights, folder)
        if writes and self._lora:
            save_adapter(self.cfg.model.lora, adapters, self.cfg.model.path, folder / FOLDER)

    def _parts(self) -> Iterator[MergedPart]:
        if self._lora:
            yield from parts_of(self.lm)
            return
        for name, parameter in self.lm.named_parameters():
            yield MergedPart(name, [parameter])

    def _info(self, name: str, shape: tuple[int, ...]) -> ParamInfo:
        return ParamInfo(name, self.cfg.model.dtype, shape)


def _on_host(tensors: Named, *, wanted: bool) -> dict[str, torch.Tensor]:
    """Copies of them all; none where they are not wanted, but every rank goes through them."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors if wanted}


def _export(lm: Any, weights: Mapping[str, torch.Tensor], folder: Path) -> None:
    """Write a model in Hugging Face format.

    Raises:
        OSError: a full disk, say.
    """
    tied = set(getattr(lm, "all_tied_weights_keys", None) or {})
    folder.mkdir(parents=True, exist_ok=True)
    save_lm(lm, folder, {k: v for k, v in weights.items() if k not in tied})
