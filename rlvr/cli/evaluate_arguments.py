"""The command line of an evaluation: its short forms, and what a run settles put before them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlvr.analysis.run import policy_of_run
from rlvr.cli.overrides.recipe_tree import recipes_folder
from rlvr.cli.overrides.shorthand import ShortForm, expand, override, quoted, same
from rlvr.data.catalog import CATALOG
from rlvr.data.tasks.generated import FINITE, GENERATED, HELD_OUT
from rlvr.errors import ConfigError

NAMED_SETS = (
    *CATALOG,
    *(f"{name}{HELD_OUT}" for name in GENERATED),
    *(name for name in FINITE if name.endswith(HELD_OUT)),
)


def expand_arguments(arguments: Sequence[str]) -> tuple[list[str], Path | None]:
    """Return the command line with the short forms written out, and the evaluation to compare with.

    Raises ConfigError for an unknown data set, for a short form without a value, and for a run without a policy.
    """
    of_run: dict[str, Any] = {}

    def model(value: str) -> list[str] | None:
        if _is_recipe("model", value):
            return None
        path, run = policy_of_run(value)
        of_run.update({} if run is None else run.judging())
        return [f"model.path={quoted(path)}"]

    expanded = expand(arguments, (ShortForm(MODEL.usage, MODEL.meaning, model), *FORMS[1:]))
    if any(argument.startswith("data=") for argument in expanded.arguments):  # a recipe
        of_run.pop("data.eval", None)
    for key in ("temperature", "top_p", "samples_per_prompt"):
        if any(argument.startswith(f"eval.{key}=") for argument in expanded.arguments):
            for source in of_run.get("data.eval", ()):  # one's own word before what a set of the run says
                greedy = source["temperature"] == 0  # its samples would all be the same
                source[key] = 1 if key == "samples_per_prompt" and greedy else None
    earlier = expanded.own.get("compare")
    # Those of the run come first: one's own word wins.
    return (
        [*(override(key, value) for key, value in of_run.items()), *expanded.arguments],
        Path(earlier).expanduser() if earlier else None,
    )


def sets(value: str) -> list[str] | None:
    """Data sets as `data.eval`; the name of a recipe of data stands for itself."""
    if _is_recipe("data", value):
        return None
    return [f"data.eval=[{','.join(_source(part) for part in value.split(','))}]"]


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


MODEL = ShortForm(
    "model=PATH",
    "model.path, or a name in recipes/model; the folder of a run stands for its policy, judged as the run judges it",
)
SETS = ShortForm("data=A,B", "data.eval: data sets by name, or a local file or folder as NAME:PATH", sets)
SAMPLES = ShortForm(
    "n=32", "eval.samples_per_prompt: responses to each problem", same("eval.samples_per_prompt")
)
FORMS = (
    MODEL,
    SETS,
    SAMPLES,
    ShortForm("compare=FOLDER", "an earlier evaluation, to be compared problem by problem"),
)
