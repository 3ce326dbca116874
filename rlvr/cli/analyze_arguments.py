"""The command line of the analysis: short forms written out, and mistakes named before Hydra sees them."""

from __future__ import annotations

from collections.abc import Sequence

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rlvr.analysis.config import AnalyzeConfig
from rlvr.analysis.shift.inputs import with_run
from rlvr.cli.compose import CommandLine, check_keys, compose, parse_overrides
from rlvr.cli.entry import register_command
from rlvr.cli.evaluate_arguments import expand_arguments as expand_data
from rlvr.cli.shorthand import quote_odd_values, quoted
from rlvr.errors import ConfigError

PATHS = {"base": "model.base_path", "policy": "model.path", "run": "run", "output": "output"}
LISTS = ("checkpoints", "responses", "base_responses")
QUESTIONS = {"--help", "-h", "--cfg", "-c", "--info", "-i", "--hydra-help"}  # answered without a policy
LINE = CommandLine(
    AnalyzeConfig, "analyze", ("hydra", "rollout.engine_args", "data.eval"), short=tuple(PATHS)
)


def expand_arguments(arguments: Sequence[str]) -> tuple[list[str], str | None]:
    """Return the command line with the short forms written out, and the folder of `run=`.

    Raises:
        ConfigError: a short form without a value, or an unknown data set.
    """
    expanded: list[str] = []
    run = None
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key in (*PATHS, *LISTS) and not value:
            raise ConfigError(f"{argument!r} has no value; write {key}=VALUE")
        if key == "run":
            run = value
        elif key in PATHS:
            expanded.append(f"{PATHS[key]}={_quoted(value)}")
        elif key in LISTS and not value.startswith("["):
            expanded.append(f"{key}=[{','.join(_quoted(part) for part in value.split(','))}]")
        elif key in ("data", "n"):
            expanded += expand_data([argument])[0]
        else:
            expanded.append(argument)
    given = {argument.partition("=")[0] for argument in expanded}
    if "data.eval" in given:  # a run's responses are to other problems
        expanded += [f"{name}=[]" for name in ("responses", "base_responses") if name not in given]
    return quote_odd_values(expanded), run


def check_arguments(arguments: Sequence[str], run: str | None) -> None:
    """Register the defaults (of the run, where there is one) and compose once, to report mistakes in our words.

    Raises:
        ConfigError: an unknown key, a value of the wrong type, no pair of models, or a folder that is not a run.
    """
    register_command(LINE, OmegaConf.structured(with_run(run)))
    parsed = parse_overrides(arguments)
    check_keys(parsed, LINE)
    given = {override.key_or_group for override in parsed}
    for short in ("base", "policy"):
        if run is None and PATHS[short] not in given and not QUESTIONS & set(arguments):
            raise ConfigError(f"{short}= is missing: give base=PATH and policy=PATH, or run=FOLDER")
    composed = compose(parsed, LINE)
    try:
        cfg = OmegaConf.to_object(composed)
    except OmegaConfBaseException as error:
        raise ConfigError(str(error).splitlines()[0]) from error
    assert isinstance(cfg, AnalyzeConfig)
    if run is None and "data.eval" not in given and not QUESTIONS & set(arguments):
        _require_responses(cfg)


def _require_responses(cfg: AnalyzeConfig) -> None:
    for name, key in (("policy", "responses"), ("base", "base_responses")):
        if name in cfg.trajectories and not cfg.given_responses(name):
            other = "base" if name == "policy" else "policy"
            raise ConfigError(
                f"there are no responses of the {name}: give {key}=FILES, or data=SETS to sample them, or "
                f"trajectory={other}"
            )


def _quoted(value: str) -> str:
    return value if value[0] in "'\"" else quoted(value)
