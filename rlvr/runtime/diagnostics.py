"""Numbers of a step beyond those of its stages."""

from __future__ import annotations

from collections.abc import Sequence

from rlvr.config import Config
from rlvr.learner.correction import correction_metrics
from rlvr.learner.gradients import gradient_norms
from rlvr.metrics import concentration_metrics, source_metrics
from rlvr.types import Batch, RolloutBatch


def diagnostics(rollout: RolloutBatch, batch: Batch, cfg: Config, sources: Sequence[str]) -> dict[str, float]:
    """How few tokens carry weights and gradient, each source of a mixture, and the correction for old weights."""
    concentration = concentration_metrics(rollout, batch, gradient_norms(batch, cfg), sources)
    return concentration | source_metrics(rollout, sources) | correction_metrics(batch, cfg)
