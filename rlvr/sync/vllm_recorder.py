"""How vLLM's workers note which weights they are given to load, over any transport."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from rlvr.sync.adapter import Adapter
from rlvr.sync.checksum import Checksums
from rlvr.sync.held import HeldCopy


class WeightRecorder:
    """Further calls of a worker, which it inherits (rlvr.sync.vllm_extension)."""

    model_runner: Any
    weight_transfer_engine: Any

    def held_copy(self) -> str | None:
        """The push of whose weights the worker holds a copy that can be patched."""
        held: HeldCopy | None = getattr(self.weight_transfer_engine, "held", None)
        return held.name if held else None

    def record_weights(self) -> None:
        """Note what the model loads until `recorded_weights`.

        Comes before vLLM's start_weight_update, which takes the model's parameters away.
        """
        model = self.model_runner.get_model()
        load, sums, loaded = model.load_weights, Checksums(), set[str]()

        def noting(weights: Iterable[tuple[str, torch.Tensor]]) -> Any:
            names = load(sums.noting(iter(weights)))
            loaded.update(names or ())
            return names

        self._record = sums, {name for name, _ in model.named_parameters()}, loaded
        self._load, model.load_weights = load, noting

    def record_adapter(self) -> None:
        """Note what arrives until `recorded_weights`, and keep it for `use_adapter`: the model loads nothing."""
        model, sums, arrived = self.model_runner.get_model(), Checksums(), dict[str, torch.Tensor]()

        def keeping(weights: Iterable[tuple[str, torch.Tensor]]) -> set[str]:
            arrived.update(sums.noting(iter(weights)))
            return set(arrived)

        self._record, self._arrived = (sums, set[str](), set[str]()), arrived
        self._load, model.load_weights = model.load_weights, keeping

    def use_adapter(self, adapter: Adapter) -> None:
        """Compute with the adapter that has arrived, in the place of the one before.

        Comes after vLLM's finish_weight_update, which takes all adapters away.
        """
        from rlvr.sync.vllm_adapter import use_adapter

        missing = use_adapter(self.model_runner.get_model(), self._arrived, adapter)
        sums, _, _ = self._record
        self._record, self._arrived = (sums, missing, set(self._arrived)), {}

    def recorded_weights(self) -> tuple[dict[str, int], list[str]]:
        """The checksums by the checkpoint's names, and the model's own parameters into which nothing was loaded.

        A model whose load_weights does not say what it has loaded is taken to have loaded all.
        """
        sums, own, loaded = self._record
        self.model_runner.get_model().load_weights = self._load
        return sums.numbers(), sorted(own - loaded) if loaded else []
