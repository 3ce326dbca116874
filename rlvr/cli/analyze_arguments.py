"""The command line of the analysis: short forms written out, and mistakes named before Hydra sees them."""

from __future__ import annotations

from collections.abc import Sequence

from omegaconf import OmegaConf

from rlvr.analysis.config import AnalyzeConfig
from rlvr.analysis.shift.inputs import with_run
from rlvr.cli.entry import register_command
from rlvr.cli.evaluate_arguments import SAMPLES, sets
from rlvr.cli.overrides.command_line import CommandLine, parse_overrides
from rlvr.cli.overrides.compose import compose, registry_kept
from rlvr.cli.overrides.forms import as_typed
from rlvr.cli.overrides.known import check_keys
from rlvr.cli.overrides.shorthand import ShortForm, expand, listed, path, quote_odd_values
from rlvr.errors import ConfigError

FORMS = (
    ShortForm("run=FOLDER", "base, policy, checkpoints, responses and output of a training run"),
    ShortForm("base=PATH", "model.base_path: a folder, a hub name, or builtin", path("model.base_path")),
    ShortForm("policy=PATH", "model.path; also a checkpoint of a training run", path("model.path")),
    ShortForm("output=FOLDER", "where to; with run= its folder's analysis/", path("output")),
    ShortForm(
        "checkpoints=A,B",
        "earlier policies, oldest first, scored on the same responses",
        listed("checkpoints"),
    ),
    ShortForm("responses=FILES", "the policy's responses, as a run's samples/*.jsonl", listed("responses")),
    ShortForm("base_responses=FILES", "the base's responses", listed("base_responses")),
    ShortForm("data=A,B", "where there are none: problems to generate from, as in evaluate", sets),
    SAMPLES,
)
QUESTIONS = {"--help", "-h", "--cfg", "-c", "--info", "-i", "--hydra-help"}  # answered without a policy
LINE = CommandLine(
    AnalyzeConfig,
    "analyze",
    ("hydra", "rollout.engine_args", "data.eval"),
    short=tuple(form.name for form in FORMS),
)


def expand_arguments(arguments: Sequence[str]) -> tuple[list[str], str | None]:
    """Return the command line with the short forms written out, and the folder of `run=`.

    Raises:
        ConfigError: a short form without a value, or an unknown data set.
    """
    expanded = expand(arguments, FORMS)
    overrides = expanded.arguments
    given = {argument.partition("=")[0] for argument in overrides}
    if "data.eval" in given:  # a run's responses are to other problems
        overrides += [f"{name}=[]" for name in ("responses", "base_responses") if name not in given]
    return quote_odd_values(overrides), expanded.own.get("run")


def load(arguments: Sequence[str]) -> AnalyzeConfig:
    """The configuration of a command line; Hydra is as it was before, afterwards.

    Raises:
        ConfigError: as `expand_arguments` and `check_arguments`.
    """
    with registry_kept():
        return check_arguments(*expand_arguments(arguments))


def check_arguments(arguments: Sequence[str], run: str | None) -> AnalyzeConfig:
    """Register the defaults (of the run, where there is one) and compose once, to report mistakes in our words.

    Raises:
        ConfigError: an unknown key, a value of the wrong type, no pair of models, or a folder that is not a run.
    """
    register_command(LINE, OmegaConf.structured(with_run(run)))
    parsed = parse_overrides(arguments)
    check_keys(parsed, LINE)
    given = {override.key_or_group for override in parsed}
    for short, key in (("base", "model.base_path"), ("policy", "model.path")):
        if run is None and key not in given and not QUESTIONS & set(arguments):
            raise ConfigError(f"{short}= is missing: give base=PATH and policy=PATH, or run=FOLDER")
    cfg = as_typed(compose(parsed, LINE))
    assert isinstance(cfg, AnalyzeConfig)
    if run is None and "data.eval" not in given and not QUESTIONS & set(arguments):
        _require_responses(cfg)
    return cfg


def _require_responses(cfg: AnalyzeConfig) -> None:
    for name, key in (("policy", "responses"), ("base", "base_responses")):
        if name in cfg.trajectories and not cfg.given_responses(name):
            other = "base" if name == "policy" else "policy"
            raise ConfigError(
                f"there are no responses of the {name}: give {key}=FILES, or data=SETS to sample them, or "
                f"trajectory={other}"
            )
