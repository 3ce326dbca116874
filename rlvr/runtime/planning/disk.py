"""What a run writes: a checkpoint, a step's samples, both a day, and the finished groups that wait for a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass

from rlvr.config import Config
from rlvr.runtime.planning.ledger import BYTES, moments
from rlvr.runtime.planning.seconds import DAY
from rlvr.runtime.planning.shape import ModelShape, matrix_parameters, trained_parameters

BYTES_PER_TOKEN = 26.0  # of a sampled token in a file: id, log-prob and text


@dataclass(frozen=True, slots=True)
class Disk:
    """Bytes: of one checkpoint (fp32 copy, moments and weights), of the samples of one step before compression, and of
    finished groups that no checkpoint covers yet (0 in a synchronous run)."""

    checkpoint: float
    samples: float
    ready_groups: float

    def a_day(self, cfg: Config, seconds_a_step: float) -> tuple[float, float]:
        """Bytes of checkpoints and of samples that are written in a day of training."""
        steps = DAY / seconds_a_step
        saved = steps / cfg.run.save_every if cfg.run.save_every else 0.0
        dumped = steps / cfg.run.dump_samples_every if cfg.run.dump_samples_every else 0.0
        return saved * self.checkpoint, dumped * self.samples


def disk(cfg: Config, shape: ModelShape) -> Disk:
    """What a run writes at a time, at most."""
    rollout = cfg.rollout
    samples = (
        BYTES_PER_TOKEN * cfg.data.prompts_per_step * rollout.samples_per_prompt * rollout.max_response_tokens
    )
    # Every group since the last checkpoint, and those that are generated ahead.
    drawn = (cfg.run.save_every or cfg.steps) * (rollout.max_rounds if rollout.dynamic_sampling else 1)
    ahead = drawn + rollout.staleness + 1 if rollout.staleness else 0
    sharp = cfg.model.dtype == "bfloat16" or cfg.learner.zero_stage > 0
    trained = trained_parameters(cfg, shape)
    copies = (4 if sharp else 0) + BYTES[cfg.model.dtype]  # frozen weights are left out
    return Disk(
        copies * trained + moments(cfg, trained, matrix_parameters(cfg, shape)),
        samples,
        samples * ahead,
    )
