"""Token-advantage plug-ins: per-token weights from per-token signals. One plug-in a file.

A plug-in is a frozen dataclass whose fields are its options. It declares in `requires` which signals it
reads (fields of `rlvr.types.TokenSignals`), and only those are computed. If one of them changes during the
update (`kl_old`), the plug-in is evaluated inside the update, else once when the batch has been scored. One that
also has a method `penalty(view)` adds a penalty on leaving the old policy to the loss.
"""

from rlvr.advantage.token.apply import token_advantage
from rlvr.advantage.token.contract import TokenPlugin, TokenView
from rlvr.advantage.token.covariance import ClipCov, KLCov
from rlvr.advantage.token.delta_logp import DeltaLogpMask
from rlvr.advantage.token.divergence import DivergenceWeight
from rlvr.advantage.token.high_entropy import HighEntropyMask
from rlvr.advantage.token.low_probability import LowProbabilityWeight
from rlvr.advantage.token.random import RandomWeight
from rlvr.advantage.token.registry import PLUGINS, build_plugin
from rlvr.advantage.token.uniform import Uniform

__all__ = [
    "PLUGINS",
    "ClipCov",
    "DeltaLogpMask",
    "DivergenceWeight",
    "HighEntropyMask",
    "KLCov",
    "LowProbabilityWeight",
    "RandomWeight",
    "TokenPlugin",
    "TokenView",
    "Uniform",
    "build_plugin",
    "token_advantage",
]
