"""Parts of a cross-sampling experiment whose answers are known."""

import numpy as np

from rlvr.analysis.cross.records import Part
from rlvr.stats.accuracy import EvalResult

PROBLEMS, SAMPLES = 12, 4


def part(
    direction,
    rule,
    right,
    *,
    budget=None,
    eps=None,
    target=None,
    threshold=None,
    switches=0,
    effective=0,
    differing=0,
    **more,
):
    """A part in which the first `right` samples of every problem, more or less one, are correct."""
    wanted = np.clip(right + np.arange(PROBLEMS) % 3 - 1, 0, SAMPLES)
    correct = np.arange(SAMPLES) < wanted[:, None]
    graded = EvalResult(
        name=f"{direction}-{rule}",
        problem_ids=tuple(f"p{i}" for i in range(PROBLEMS)),
        correct=correct,
        lengths=np.full((PROBLEMS, SAMPLES), 25),
        truncated=np.zeros((PROBLEMS, SAMPLES), dtype=np.bool_),
        answers=tuple(tuple("1" for _ in range(SAMPLES)) for _ in range(PROBLEMS)),
    )
    return Part(
        direction=direction,
        rule=rule,
        budget=budget,
        eps=eps,
        target=target,
        threshold=threshold,
        calibration=None,
        tokens=PROBLEMS * SAMPLES * 25,
        switches=switches,
        effective=effective,
        graded=graded,
        differing=differing,
        **more,
    )


BASE, POLICY = part("endpoint", "base", 1), part("endpoint", "policy", 3)


JS = part("forward", "js", 2, budget=0.05, target=0.05, threshold=0.1, switches=60, effective=24)
