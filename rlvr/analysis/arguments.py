"""The command line of the analysis: short forms written out, and mistakes named before Hydra sees them."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rlvr.analysis.config import AnalyzeConfig
from rlvr.analysis.shift.inputs import with_run
from rlvr.entry import known_keys
from rlvr.errors import ConfigError
from rlvr.evaluate import expand_arguments as expand_data

NAME = "analyze"
HYDRA_QUIET = (
    "hydra.run.dir=.",
    "hydra.output_subdir=null",
    "hydra/job_logging=none",
    "hydra/hydra_logging=none",
)
PATHS = {"base": "model.base_path", "policy": "model.path", "run": "run", "output": "output"}
LISTS = ("checkpoints", "responses", "base_responses")
QUESTIONS = {"--help", "-h", "--cfg", "-c", "--info", "-i", "--hydra-help"}  # answered without a policy
FREE = ("hydra", "rollout.engine_args", "data.eval")


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
    return expanded, run


def check_arguments(arguments: Sequence[str], run: str | None) -> None:
    """Register the defaults (of the run, where there is one) and compose once, to report mistakes in our words.

    Raises:
        ConfigError: an unknown key, a value of the wrong type, no pair of models, or a folder that is not a run.
    """
    ConfigStore.instance().store(name=NAME, node=OmegaConf.structured(with_run(run)))
    overrides = get_args_parser().parse_args(list(arguments)).overrides
    try:
        parsed = OverridesParser.create().parse_overrides(overrides)
    except HydraException as error:
        raise ConfigError(f"{error}\nOverrides look like key=value.") from error
    keys = known_keys(AnalyzeConfig)
    for override in parsed:
        key = override.key_or_group
        if key not in keys and not key.startswith(FREE):
            near = difflib.get_close_matches(key, [*keys, *PATHS], n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else "see all keys with --cfg job."
            raise ConfigError(f"{key}: there is no such key; {hint}")
    given = {override.key_or_group for override in parsed}
    for short in ("base", "policy"):
        if run is None and PATHS[short] not in given and not QUESTIONS & set(arguments):
            raise ConfigError(f"{short}= is missing: give base=PATH and policy=PATH, or run=FOLDER")
    single = [str(o.input_line) for o in parsed if not (o.is_sweep_override() or o.is_hydra_override())]
    try:
        with hydra.initialize(config_path=None, version_base="1.3"):
            cfg = OmegaConf.to_object(hydra.compose(NAME, overrides=single))
    except (HydraException, OmegaConfBaseException) as error:
        cause = error.__cause__ or error
        raise ConfigError(f"{str(error).splitlines()[0]}\n{str(cause).splitlines()[0]}") from error
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
    """A value as Hydra's override grammar reads it back unchanged."""
    if value[0] in "'\"":
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
