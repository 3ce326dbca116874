"""Token statistics over the whole vocabulary: how far a policy P has moved from its base Q at every position.

`dist_stats` starts from logits, `linear_dist_stats` from hidden states and lm_head weights; both return a
`DistStats` that holds one `[T]` tensor for each statistic asked for. Only torch and numpy are imported (and
triton, when its backend is used), so that the package runs on a bare GPU machine.
"""

from rlvr.divergence.dense import dist_stats
from rlvr.divergence.linear import linear_dist_stats
from rlvr.divergence.record import WANTS, DistStats
from rlvr.divergence.transform import OutputTransform

__all__ = ["WANTS", "DistStats", "OutputTransform", "dist_stats", "linear_dist_stats"]
