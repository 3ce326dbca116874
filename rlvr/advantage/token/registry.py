"""Names of the built-in plug-ins, and how one of your own is found."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_type_hints

from rlvr.advantage.token.contract import TokenPlugin, has_penalty, inside_update
from rlvr.advantage.token.covariance import ClipCov, KLCov
from rlvr.advantage.token.delta_logp import DeltaLogpMask
from rlvr.advantage.token.divergence import DivergenceWeight
from rlvr.advantage.token.high_entropy import HighEntropyMask
from rlvr.advantage.token.low_probability import LowProbabilityWeight
from rlvr.advantage.token.random import RandomWeight
from rlvr.advantage.token.uniform import Uniform
from rlvr.dotted import find_named
from rlvr.errors import ConfigError
from rlvr.types import SIGNALS, STEP_SIGNALS

PLUGINS: dict[str, type] = {
    "uniform": Uniform,
    "divergence": DivergenceWeight,
    "random": RandomWeight,
    "high_entropy": HighEntropyMask,
    "clip_cov": ClipCov,
    "kl_cov": KLCov,
    "low_probability": LowProbabilityWeight,
    "delta_logp": DeltaLogpMask,
}


SCALARS = {str, int, float, bool, type(None)}


def _wrong_types(plugin_class: type, options: dict[str, Any]) -> list[str]:
    """What to say about options of a dataclass that do not fit their annotation, if that names scalars only."""
    found = []
    hints = get_type_hints(plugin_class) if is_dataclass(plugin_class) else {}
    for name in options.keys() & hints.keys():
        allowed = set(get_args(hints[name]) or (hints[name],))
        given = type(options[name])
        fits = given in allowed or (given is int and float in allowed)
        if allowed <= SCALARS and not fits:
            names = " or ".join(sorted("null" if t is type(None) else t.__name__ for t in allowed))
            found.append(f"advantage.options.{name}={options[name]!r}: must be {names}")
    return sorted(found)


def build_plugin(name: str, options: dict[str, Any]) -> TokenPlugin:
    """Build the plug-in called `name` (built in, or a dotted path) from its options.

    Raises:
        ConfigError: unknown name or option, wrong type, or a signal that does not exist.
    """
    plugin_class = find_named(name, PLUGINS, "advantage.token")
    if wrong := _wrong_types(plugin_class, options):
        raise ConfigError("\n".join(wrong))
    try:
        plugin = plugin_class(**options)
    except TypeError as error:
        known = [f.name for f in fields(plugin_class)] if is_dataclass(plugin_class) else []
        raise ConfigError(
            f"advantage.options={options}: {error}. Options of {name}: {', '.join(known) or 'none'}. "
            "An option left over from another plug-in goes with advantage=uniform."
        ) from error
    if not isinstance(plugin, TokenPlugin):
        raise ConfigError(f"advantage.token={name}: needs a `requires` and a `weights(view)`")
    unknown = set(plugin.requires) - SIGNALS
    if unknown:
        raise ConfigError(
            f"advantage.token={name} requires unknown signals {sorted(unknown)}; "
            f"there are {', '.join(sorted(SIGNALS))}"
        )
    if has_penalty(plugin) and inside_update(plugin):
        raise ConfigError(
            f"advantage.token={name}: its penalty is computed once for the whole batch, but it requires "
            f"{', '.join(sorted(set(plugin.requires) & STEP_SIGNALS))}, which exists only inside the update"
        )
    return plugin
