"""What a SLURM job is made of: every option of `python -m launch.slurm`, its default and its meaning.

A site's values go into a YAML file (`--site FILE`), those of one job onto the command line (`slurm.nodes=2`).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rlvr.errors import ConfigError

PREFIX = "slurm."


@dataclass
class SlurmConfig:
    """One job, or each job of a sweep."""

    nodes: int = 1
    gpus_per_node: int = 0
    cpus_per_node: int | None = None  # null: whole nodes (--exclusive)
    memory: str | None = None  # per node, such as 200G; null: the partition's default
    time: str = "24:00:00"  # limit of one attempt; the job goes on in another
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    options: list[str] = field(default_factory=list)  # further options of sbatch, such as --reservation=x
    setup: list[str] = field(default_factory=list)  # shell lines run first, such as "module load cuda"
    name: str | None = None  # null: rlvr-<recipe>, or rlvr-<folder> of a sweep
    logs: str = "runs/slurm"  # folder on the shared file system, for the outputs of all jobs
    concurrency: int = 4  # jobs of a sweep that run at once
    warn_seconds: int = 300  # before the limit: time for the running step and a checkpoint
    max_requeues: int = (
        100  # after time limits and crashes; an attempt that got no further ends the job at once
    )
    ready_seconds: int = 300  # until every node has joined Ray
    stop_seconds: int = 60  # for the run to close when the job is cancelled; SLURM's KillWait may be shorter
    ray_port: int | None = None  # of the Ray head; null: a free one
    interface: str | None = None  # network interface between the nodes; null: the one on the route to them
    ray_args: list[str] = field(default_factory=list)  # further options of `ray start` on every node


AT_LEAST = {
    "nodes": 1,
    "gpus_per_node": 0,
    "cpus_per_node": 1,
    "concurrency": 1,
    "warn_seconds": 1,
    "max_requeues": 0,
    "ready_seconds": 1,
    "stop_seconds": 1,
    "ray_port": 1024,
}
TIME = re.compile(r"\d+(-\d+(:\d+){0,2}|(:\d+){0,2})")  # minutes, m:s, h:m:s, d-h, d-h:m, d-h:m:s


def load_config(site: Path | None, overrides: Sequence[str]) -> SlurmConfig:
    """The options of a job: defaults, then the site's file, then `slurm.key=value` of the command line.

    Raises:
        ConfigError: unknown key, wrong type or a value that cannot work.
    """
    known = [f.name for f in fields(SlurmConfig)]
    merged = OmegaConf.structured(SlurmConfig)
    sources = [] if site is None else [(str(site), _read_site(site))]
    for line in overrides:
        key, mark, text = line.removeprefix(PREFIX).partition("=")
        if not mark:
            raise ConfigError(f"{line}: write options as {PREFIX}key=value")
        sources.append((line, {key: _plain(text, line)}))
    for label, values in sources:
        for key in values:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                hint = f"did you mean {PREFIX}{near[0]}?" if near else f"there are {', '.join(known)}"
                raise ConfigError(f"{label}: there is no {PREFIX}{key}; {hint}")
        try:
            merged = OmegaConf.merge(merged, values)
        except OmegaConfBaseException as error:
            raise ConfigError(f"{label}: {str(error).splitlines()[0]}") from error
    config = OmegaConf.to_object(merged)
    assert isinstance(config, SlurmConfig)
    if problems := _problems(config):
        raise ConfigError("\n".join(problems))
    return config


def _read_site(path: Path) -> dict[str, Any]:
    try:
        values = _plain(path.read_text(), f"--site {path}")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--site {path}: cannot be read ({error})") from error
    if not isinstance(values, dict):
        raise ConfigError(f"--site {path}: expected lines like `partition: gpu`")
    return values


def _plain(text: str, label: str) -> Any:
    """YAML with every scalar left as text: YAML itself would read the time 12:00:00 as the number 43200."""
    try:
        value = yaml.load(text, yaml.BaseLoader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{label}: not readable as YAML ({error})") from error
    return _without_null(value)


def _without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_null(inner) for key, inner in value.items()}
    return None if value in ("null", "~", "") else value


def _problems(config: SlurmConfig) -> list[str]:
    found = []
    for key, low in AT_LEAST.items():
        value = getattr(config, key)
        if value is not None and value < low:
            found.append(f"{PREFIX}{key}={value}: must be at least {low}")
    if not TIME.fullmatch(config.time):
        found.append(
            f"{PREFIX}time={config.time}: write it as SLURM does, such as 90 (minutes), 12:00:00 or 2-00:00:00"
        )
    found += [
        f"{PREFIX}options: {line!r} is no option of sbatch; write it as in --reservation=x"
        for line in config.options
        if not re.fullmatch(r"-.*", line) or "\n" in line
    ]
    return found
