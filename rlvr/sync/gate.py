"""The gate on log-prob mismatch between rollout engines and learner: a run with wrong weights must not go on."""

from __future__ import annotations

from collections.abc import Callable

from rlvr.config import SyncConfig
from rlvr.errors import MismatchError
from rlvr.metrics import logprob_mismatch
from rlvr.types import Batch

# Where sync.mismatch_warn is null. Two programs that run one bf16 model differ by 0.005 to 0.02 a token: their
# kernels round in different places.
MISMATCH_WARN = {"float32": 1e-2, "bfloat16": 5e-2}


def warn_above(cfg: SyncConfig, dtype: str) -> float:
    """The mean difference above which a step is warned of, in nats."""
    return MISMATCH_WARN[dtype] if cfg.mismatch_warn is None else cfg.mismatch_warn


def check_mismatch(
    batch: Batch, version: int, cfg: SyncConfig, dtype: str, warn: Callable[[str], None]
) -> float | None:
    """Compare both sides' log-probs of the tokens that weights `version` sampled, in a model of this dtype.

    Returns the mean absolute difference in nats; None where no token of the batch is that fresh or sampled (given
    answers).

    Raises:
        MismatchError: the mean is above sync.mismatch_stop, or not a number.
    """
    mismatch = logprob_mismatch(batch, version)
    if mismatch is None:
        return None
    mean, largest = mismatch
    report = (
        f"rollout and learner log-probs differ by {mean:.2e} on average (largest {largest:.2e}) on tokens of "
        f"weight version {version}"
    )
    if not mean <= cfg.mismatch_stop:
        raise MismatchError(
            f"{report}, above sync.mismatch_stop={cfg.mismatch_stop:g}. The engines do not run the learner's "
            "weights, or compute in another precision: check model.dtype, rollout.engine_args and the last "
            "weight push."
        )
    if mean > (limit := warn_above(cfg, dtype)):
        warn(f"WARNING {report}, above sync.mismatch_warn={limit:g}")
    return mean


def largest_mismatch(largest: float, compared: int | None) -> float | None:
    """The largest step mean of a run; None where no step was compared, and none is known to have been."""
    return largest if compared or largest > 0 else None


def comparison_note(compared: int | None, steps: int) -> str | None:
    """What a run says at its end unless every step was compared; None: resumed from before steps were counted."""
    if compared == steps:
        return None
    if compared is None:
        return "how many steps compared rollout and learner log-probs is not known: the first checkpoint did not say"
    return (
        f"rollout and learner log-probs were compared at {compared} of {steps} steps: given answers "
        "(rollout.answers) have nothing to compare with"
    )
