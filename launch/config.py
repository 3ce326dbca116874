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
from rlvr.validate.ranges import too_small

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
    warn_seconds: int = 300  # before the limit: time for the running step, an evaluation and a checkpoint
    max_requeues: int = 100  # restarts for any reason; an attempt that got no further ends the job at once
    ready_seconds: int = 300  # until every node has joined Ray
    stop_seconds: int = 25  # for the run to close when the job is cancelled; less than SLURM's KillWait (30)
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
HIGHEST_PORT = 65535
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
    lists = [f.name for f in fields(SlurmConfig) if str(f.type).startswith("list")]
    for _, values in sources:
        values.update({key: [values[key]] for key in lists if isinstance(values.get(key), str)})
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


def limit_seconds(text: str) -> int:
    """A time limit as SLURM reads it: minutes, m:s, h:m:s, d-h, d-h:m or d-h:m:s."""
    days, dash, clock = text.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    if dash:
        hours, minutes, seconds = [*parts, 0, 0][:3]
        return ((int(days) * 24 + hours) * 60 + minutes) * 60 + seconds
    if len(parts) == 3:
        return (parts[0] * 60 + parts[1]) * 60 + parts[2]
    return parts[0] * 60 + (parts[1] if len(parts) == 2 else 0)


def _problems(config: SlurmConfig) -> list[str]:
    found = too_small((f"{PREFIX}{key}", getattr(config, key), low) for key, low in AT_LEAST.items())
    if not TIME.fullmatch(config.time):
        found.append(
            f"{PREFIX}time={config.time}: write it as SLURM does, such as 90 (minutes), 12:00:00 or 2-00:00:00"
        )
    elif (limit := limit_seconds(config.time)) <= config.warn_seconds:
        found.append(
            f"{PREFIX}warn_seconds={config.warn_seconds}: the limit of {limit} s ({PREFIX}time={config.time}) leaves "
            "no time before the warning; lower the one or raise the other"
        )
    if config.ray_port is not None and config.ray_port > HIGHEST_PORT:
        found.append(f"{PREFIX}ray_port={config.ray_port}: must be at most {HIGHEST_PORT}")
    found += [
        f"{PREFIX}options: {line!r} is no option of sbatch; write it as in --reservation=x"
        for line in config.options
        if not re.fullmatch(r"-.*", line) or "\n" in line
    ]
    return found
