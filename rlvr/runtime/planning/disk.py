"""What a run writes: a checkpoint, a step's samples, and both a day."""

from __future__ import annotations

from dataclasses import dataclass

from rlvr.config import Config
from rlvr.runtime.planning.ledger import BYTES
from rlvr.runtime.planning.seconds import DAY
from rlvr.runtime.planning.shape import ModelShape, trained_parameters

DUMP_BYTES_PER_TOKEN = 20.0  # id and log-prob as text


@dataclass(frozen=True, slots=True)
class Disk:
    """Bytes: of one checkpoint (fp32 copy, moments and weights), and of the samples of one step before compression."""

    checkpoint: float
    samples: float

    def a_day(self, cfg: Config, seconds_a_step: float) -> tuple[float, float]:
        """Bytes of checkpoints and of samples that are written in a day of training."""
        steps = DAY / seconds_a_step
        saved = steps / cfg.run.save_every if cfg.run.save_every else 0.0
        dumped = steps / cfg.run.dump_samples_every if cfg.run.dump_samples_every else 0.0
        return saved * self.checkpoint, dumped * self.samples


def disk(cfg: Config, shape: ModelShape) -> Disk:
    """What a run writes at a time, at most."""
    samples = cfg.data.prompts_per_step * cfg.rollout.samples_per_prompt
    sharp = cfg.model.dtype == "bfloat16" or cfg.learner.zero_stage > 0
    states = (12 if sharp else 8) + BYTES[cfg.model.dtype]  # frozen weights are left out
    return Disk(
        float(states * trained_parameters(cfg, shape)),
        DUMP_BYTES_PER_TOKEN * samples * cfg.rollout.max_response_tokens,
    )
