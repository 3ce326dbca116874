"""Training that has left the finite numbers ends here, before its weights reach engines or a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from rlvr.config import Config
from rlvr.divergence.checks import NotFiniteError
from rlvr.errors import DivergedError


def check_norm(norm: float, updates: int, cfg: Config) -> None:
    """Look at the norm of a gradient that has just been used, after so many updates.

    Raises:
        DivergedError: it is NaN or infinite, and so are the weights.
    """
    # Sharded, DeepSpeed says -1 for either.
    if not math.isfinite(norm) or norm < 0:
        said = "NaN or infinite" if norm < 0 else norm
        raise DivergedError(
            f"the norm of the gradient is {said} at update {updates + 1}: {_remedy(updates, cfg)}"
        )


@contextmanager
def finite_logits(updates: int, cfg: Config) -> Iterator[None]:
    """Say what it means where the model's logits are no finite numbers, after so many updates.

    Raises:
        DivergedError: they are not.
    """
    try:
        yield
    except NotFiniteError as error:
        raise DivergedError(
            f"the model's logits are NaN or infinite after {updates} updates ({error}): {_remedy(updates, cfg)}"
        ) from error


def _remedy(updates: int, cfg: Config) -> str:
    if updates == 0:
        return (
            f"nothing has been trained yet, so the weights of model.path={cfg.model.path} are damaged, too large for "
            f"model.dtype={cfg.model.dtype}, or loss.objective={cfg.loss.objective} has no gradient here"
        )
    return (
        "training has diverged. No checkpoint has these weights: go on from the newest one (run.resume=auto) with a "
        f"lower learner.lr than {cfg.learner.lr:g}, learner.max_grad_norm={cfg.learner.max_grad_norm:g} lower as well, "
        f"or more learner.warmup_updates than {cfg.learner.warmup_updates}"
    )
