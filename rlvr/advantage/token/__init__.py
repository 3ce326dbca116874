"""Token-advantage plug-ins: per-token weights from per-token signals. One plug-in a file.

A plug-in is a frozen dataclass whose fields are its options. It declares in `requires` which signals it
reads (fields of `rlvr.types.TokenSignals`), and only those are computed. If one of them changes during the
update (`kl_old`), the plug-in is evaluated inside the update, else once when the batch has been scored.
"""

from rlvr.advantage.token.apply import token_advantage
from rlvr.advantage.token.contract import TokenPlugin, TokenView
from rlvr.advantage.token.divergence import DivergenceWeight
from rlvr.advantage.token.random import RandomWeight
from rlvr.advantage.token.registry import PLUGINS, build_plugin
from rlvr.advantage.token.uniform import Uniform

__all__ = [
    "PLUGINS",
    "DivergenceWeight",
    "RandomWeight",
    "TokenPlugin",
    "TokenView",
    "Uniform",
    "build_plugin",
    "token_advantage",
]
