"""REINFORCE++ (arXiv 2501.03262, section 3): advantages normalised over the whole batch instead of within the group.

The published form and its reference implementations (OpenRLHF's `reinforce` and `reinforce_baseline`, verl's
`reinforce_plus_plus` and `reinforce_plus_plus_baseline`) normalise token advantages: every response token counts
once, so a long response moves mean and deviation more than a short one. Token advantages of one response are equal
here, because no KL enters the reward (with loss.kl_in=reward use reinforce_pp_samples), so weights by length say the
same.
The deviation is OpenRLHF's, over all T tokens; verl divides by T - 1.
"""

from collections.abc import Sequence

import numpy as np

from rlvr.advantage.group.dr_grpo import dr_grpo
from rlvr.types import Floats, Ints

EPSILON = 1e-8


def reinforce_pp_global(rewards: Sequence[Floats], lengths: Sequence[Ints]) -> list[Floats]:
    """Rewards [n] and response tokens [n] of every group -> [n] each: (r - mean_tokens r) / std_tokens r; no group
    baseline, so one sample a prompt is enough."""
    return _whiten(rewards, np.concatenate(lengths))


def reinforce_pp_baseline(rewards: Sequence[Floats], lengths: Sequence[Ints]) -> list[Floats]:
    """As `reinforce_pp_global` for A' = r - mean_group r: (A' - mean_tokens A') / std_tokens A'."""
    return _whiten([dr_grpo(r) for r in rewards], np.concatenate(lengths))


def reinforce_pp_samples(rewards: Sequence[Floats]) -> list[Floats]:
    """Our own: as `reinforce_pp_baseline`, but every sample counts once whatever its length."""
    return _whiten([dr_grpo(r) for r in rewards], 1)


def _whiten(values: Sequence[Floats], counts: Ints | int) -> list[Floats]:
    """Normalise to mean 0 and standard deviation 1 over all groups, each value taken `counts` times."""
    flat = np.repeat(np.concatenate(values), counts)
    mean, std = flat.mean(dtype=np.float64), flat.std(dtype=np.float64)
    return [((v - mean) / (std + EPSILON)).astype(np.float32) for v in values]
