"""The command line of cross-sampling: lists without brackets."""

from __future__ import annotations

from collections.abc import Sequence

from rlvr.analysis.cross.config import CrossSampleConfig
from rlvr.cli.overrides.command_line import CommandLine
from rlvr.cli.overrides.shorthand import ShortForm, expand, listed, quote_odd_values

FORMS = (
    ShortForm("data=A,B", "data sets by name, or a local file or folder as NAME:PATH", listed("data")),
    ShortForm("rules=A,B", "switch rules", listed("rules")),
    ShortForm("budgets=X,Y", "target shares of tokens", listed("budgets")),
    ShortForm("thresholds=X,Y", "of the JS rule, in place of budgets", listed("thresholds")),
)
LINE = CommandLine(CrossSampleConfig, "cross_sample", ("hydra",))


def expand_arguments(arguments: Sequence[str]) -> list[str]:
    """The command line with the short forms written out.

    Raises:
        ConfigError: a list without a value.
    """
    return quote_odd_values(expand(arguments, FORMS).arguments)
