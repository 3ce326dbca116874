"""What the length of a response earns or costs beside the others of its group: the published length rewards.

Arrays are numpy, one entry a sample of one group; lengths in tokens of the response alone.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from rlvr.reward.overlong import Bools, Doubles


def kimi(lengths: Doubles, correct: Bools, coefficient: float, span: float) -> Doubles:
    """coefficient x lambda where right, coefficient x min(0, lambda) where wrong, lambda = 1/2 - (len - min) / (max -
    min) over the group; 0 where all are equally long (Kimi k1.5, arXiv 2501.12599, section 2.3.3)."""
    width = np.ptp(lengths)
    if width == 0:
        return np.zeros(len(lengths))
    share = 0.5 - (lengths - lengths.min()) / width
    return coefficient * np.where(correct, share, np.minimum(0.0, share))


def efficient(lengths: Doubles, correct: Bools, coefficient: float, span: float) -> Doubles:
    """-coefficient sigmoid((len - mean) / std) of what being right earns, for right responses, mean and deviation over
    the group's right ones; wrong ones pay nothing (Arora and Zanette, arXiv 2502.04463, section 4).

    `span`: reward.correct - reward.incorrect, 1 in the paper. Where all right ones are equally long each pays half.
    """
    paid = np.zeros(len(lengths))
    right = lengths[correct]
    if len(right):
        deviation = right.std()
        z = (right - right.mean()) / deviation if deviation else np.zeros(len(right))
        paid[correct] = -coefficient * span / (1.0 + np.exp(-z))
    return paid


# (lengths [n], right [n], reward.length_coef, reward.correct - reward.incorrect) -> what is added to the reward [n]
LENGTH_REWARDS: dict[str, Callable[[Doubles, Bools, float, float], Doubles]] = {
    "kimi": kimi,
    "efficient": efficient,
}
OFF = "off"


def length_reward(
    kind: str, lengths: npt.ArrayLike, correct: Bools, known: Bools, coefficient: float, span: float
) -> Doubles:
    """[n] what reward.length=`kind` adds to the rewards of one group.

    Samples that are not `known`, because the verifier failed, get 0 and count in no statistic.
    """
    found = np.zeros(len(known))
    if kind != OFF and known.any():
        sizes = np.asarray(lengths, dtype=np.float64)[known]
        found[known] = LENGTH_REWARDS[kind](sizes, correct[known], coefficient, span)
    return found
