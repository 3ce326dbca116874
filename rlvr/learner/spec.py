"""What a learner rank is built from, and what can be asked of it from outside its actor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from rlvr.advantage.token.contract import TokenPlugin
from rlvr.cluster.handles import RemoteMethod
from rlvr.config import Config
from rlvr.sync.sent import Sent
from rlvr.types import Floats, Ints, StepStats


@dataclass(frozen=True, slots=True)
class LearnerSpec:
    """What every rank is built from."""

    cfg: Config
    model_folder: str
    base_folder: str
    signals: frozenset[str]  # what the scoring pass computes
    plugin: TokenPlugin
    device: str  # "cpu" or "cuda"

    @property
    def world_size(self) -> int:
        """Ranks of the learner."""
        return self.cfg.learner.workers

    @property
    def lora(self) -> bool:
        """Whether adapters are trained rather than all weights."""
        return self.cfg.model.lora.rank > 0


class LearnerHandle(Protocol):
    """A `Learner` in its actor."""

    @property
    def address(self) -> RemoteMethod[tuple[str, int]]: ...

    @property
    def start(self) -> RemoteMethod[dict[str, str]]: ...

    @property
    def connect_engines(self) -> RemoteMethod[None]: ...

    @property
    def push_weights(self) -> RemoteMethod[tuple[Sent | None, float]]: ...

    @property
    def score(self) -> RemoteMethod[tuple[Ints, dict[str, Floats], float]]: ...

    @property
    def step(self) -> RemoteMethod[tuple[StepStats, float]]: ...

    @property
    def reset_optimizer(self) -> RemoteMethod[None]: ...

    @property
    def states_to_host(self) -> RemoteMethod[None]: ...

    @property
    def parameters_to_host(self) -> RemoteMethod[None]: ...

    @property
    def to_device(self) -> RemoteMethod[None]: ...

    @property
    def save(self) -> RemoteMethod[None]: ...

    @property
    def load(self) -> RemoteMethod[None]: ...

    @property
    def export(self) -> RemoteMethod[None]: ...
