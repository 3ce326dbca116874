"""The command line of an evaluation: its short forms written out, and what a run settles put before them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlvr.analysis.run_inputs import policy_of_run
from rlvr.cli.compose import recipes_folder
from rlvr.cli.shorthand import override, quoted
from rlvr.data.catalog import CATALOG
from rlvr.data.sources import ARITHMETIC_HELD_OUT
from rlvr.data.sums import SUMS_HELD_OUT
from rlvr.errors import ConfigError

NAMED_SETS = (*CATALOG, ARITHMETIC_HELD_OUT, SUMS_HELD_OUT)


def expand_arguments(arguments: Sequence[str]) -> tuple[list[str], Path | None]:
    """Return the command line with the short forms written out, and the evaluation to compare with.

    Raises ConfigError for an unknown data set, for a short form without a value, and for a run without a policy.
    """
    expanded: list[str] = []
    of_run: dict[str, Any] = {}
    earlier, own_sets = None, False
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key in ("model", "data", "n", "compare") and not value:
            raise ConfigError(f"{argument!r} has no value; write {key}=VALUE")
        if key == "compare":
            earlier = Path(value).expanduser()
        elif key == "n":
            expanded.append(f"eval.samples_per_prompt={value}")
        elif key == "model" and not _is_recipe("model", value):
            path, run = policy_of_run(value)
            of_run = {} if run is None else run.judging()
            expanded.append(f"model.path={quoted(path)}")
        elif key == "data" and not _is_recipe("data", value):
            expanded.append(f"data.eval=[{','.join(_source(part) for part in value.split(','))}]")
        else:
            expanded.append(argument)
            own_sets = own_sets or key == "data"  # a recipe
    if own_sets:
        of_run.pop("data.eval", None)
    # Those of the run come first: one's own word wins.
    return [*(override(key, value) for key, value in of_run.items()), *expanded], earlier


def _is_recipe(group: str, name: str) -> bool:
    """A name in the recipe tree keeps its meaning, except that known data sets are sets here."""
    return name not in NAMED_SETS and (recipes_folder() / group / f"{name}.yaml").is_file()


def _source(part: str) -> str:
    name, _, path = part.partition(":")
    if not path and name not in NAMED_SETS:
        raise ConfigError(
            f"data={name}: unknown data set; use {', '.join(NAMED_SETS)}, or NAME:PATH for a local file or folder"
        )
    return f"{{name:{quoted(name)},path:{quoted(path)}}}" if path else f"{{name:{quoted(name)}}}"
