"""A training run as evaluation and analysis read it: its configuration, its models, and how its policy is judged."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from rlvr.config import Config, RewardConfig
from rlvr.dotted import is_dotted, split_dotted
from rlvr.errors import ConfigError
from rlvr.reward.verdict import Rules
from rlvr.runtime.dumps import dump_files

POLICY = "policy"  # folder of the exported policy, in a run and in a checkpoint
# What decides which prompts a policy of the run gets, how long it may answer and how the answers are judged: these
# sections and keys, without those that only training reads.
JUDGED_BY = ("model", "data", "reward", "eval", "rollout.max_response_tokens")
ONLY_TRAINING = (
    "model.path",
    "model.base_path",
    "model.attention",
    "model.gradient_checkpointing",
    "data.train",
    "data.prompts_per_step",
    "data.on_overlap",
    "data.shuffle",
    "reward.workers",
    "reward.overlong",
    "reward.overlong_cache",
    "reward.overlong_filter",
    "eval.every",
)


@dataclass(frozen=True, slots=True)
class TrainedRun:
    """The folder of a training run, or a checkpoint's, with the configuration that it was trained with."""

    folder: Path
    cfg: Config

    @property
    def started_from(self) -> str:
        """The model before the first step."""
        return self.cfg.model.path

    @property
    def base(self) -> str:
        """The model that the policy is compared with."""
        return self.cfg.model.base_path or self.cfg.model.path

    @property
    def policy(self) -> Path | None:
        """The exported policy, if there is one."""
        exported = self.folder / POLICY
        return exported if (exported / "config.json").is_file() else None

    def exported(self, key: str, otherwise: str = "") -> Path:
        """The exported policy; `key` is the setting that named the run, `otherwise` what may be done instead.

        Raises:
            ConfigError: there is none.
        """
        if self.policy is None:
            raise ConfigError(
                f"{key}: {self.folder} belongs to a training run, but holds no policy in Hugging Face format: the run "
                "has not finished, or ran with run.export=false. Finish it with run.resume=auto run.export=true"
                f"{otherwise}"
            )
        return self.policy

    def checkpoints(self) -> list[Path]:
        """The checkpoints, oldest first, without the one that is the exported policy; their policy if exported."""
        found = sorted(
            p for p in (self.folder / "checkpoints").glob("step_*") if (p / "state.json").is_file()
        )
        summary = self.folder / "summary.json"
        last = json.loads(summary.read_text())["steps"] if summary.is_file() else None
        earlier = [p for p in found if int(p.name.removeprefix("step_")) != last]
        return [p / POLICY if (p / POLICY / "config.json").is_file() else p for p in earlier]

    def evaluations(self) -> list[Path]:
        """The graded responses of every evaluation, the earliest first."""
        return dump_files(self.folder / "samples", "eval_*")

    def judging(self) -> dict[str, Any]:
        """{dotted key: value} of everything that a policy of this run is evaluated with."""
        content = OmegaConf.to_container(OmegaConf.structured(self.cfg))
        assert isinstance(content, dict)
        found: dict[str, Any] = {}
        for name in JUDGED_BY:
            section, _, key = name.partition(".")
            keys = [key] if key else list(content[section])
            found |= {f"{section}.{k}": content[section][k] for k in keys}
        return {key: value for key, value in found.items() if key not in ONLY_TRAINING}


def read_run(path: str | Path) -> TrainedRun:
    """The run whose folder this is; `latest` is followed, for it may point elsewhere tomorrow.

    Raises:
        ConfigError: it is no folder of a training run, or its configuration cannot be read.
    """
    folder = Path(path).expanduser().resolve()
    file = folder / "config.yaml"
    if not file.is_file():
        raise ConfigError(
            f"run={path}: no config.yaml there, so it is not the folder of a training run; give its folder, such as "
            "run=runs/latest, or name the models instead"
        )
    try:
        cfg = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Config), OmegaConf.load(file)))
    except (
        OSError,
        OmegaConfBaseException,
        YAMLError,
        ValueError,
    ) as error:  # a file that a user may have edited
        raise ConfigError(
            f"run={path}: its config.yaml cannot be read ({error}), so it is not the folder of a training run of this "
            "version; name the models instead"
        ) from error
    assert isinstance(cfg, Config)
    return TrainedRun(folder, cfg)


def policy_of_run(path: str) -> tuple[str, TrainedRun | None]:
    """The model that a path names, and the run it comes from; a run's or checkpoint's folder stands for its policy.

    Raises:
        ConfigError: such a folder holds no policy.
    """
    folder = Path(path).expanduser()
    if (folder / "config.yaml").is_file() and not (folder / "config.json").is_file():
        run = read_run(folder)
        run.exported(f"model={path}")
        return str(Path(path) / POLICY), run
    if folder.name == POLICY and (folder.parent / "config.yaml").is_file():
        return path, read_run(folder.parent)
    return path, None


def without_training(cfg: Config) -> Config:
    """The configuration with the parts that only training reads set so that they are always consistent."""
    learner = replace(
        cfg.learner,
        workers=1,
        updates_per_step=1,
        gpus_per_worker=cfg.rollout.gpus_per_engine,
        tokens_per_micro_batch=max(cfg.learner.tokens_per_micro_batch, cfg.model.max_length),
    )
    data = replace(cfg.data, prompts_per_step=max(cfg.data.prompts_per_step, cfg.rollout.engines))
    reward = replace(cfg.reward, overlong="off", overlong_filter=False)
    rollout = replace(cfg.rollout, staleness=0)
    cluster = replace(cfg.cluster, colocate=False)
    return replace(cfg, learner=learner, data=data, reward=reward, rollout=rollout, cluster=cluster)


def require_verifiers(reward: RewardConfig, sources: Iterable[Rules]) -> None:
    """Refuse verifiers of one's own whose modules are not there, before anything is started for them.

    Raises:
        ConfigError: says where the command has to be started.
    """
    for name in dict.fromkeys([reward.verifier, *(rules.verifier for rules in sources)]):
        if name is not None and is_dotted(name):
            _require_module(name)


def _require_module(dotted: str) -> None:
    module, _ = split_dotted(dotted)
    try:
        found = bool(module) and importlib.util.find_spec(module) is not None
        reason = f"there is no module {module!r} here"
    except (ImportError, ValueError) as error:  # of a package above it
        found, reason = False, str(error)
    if not found:
        raise ConfigError(
            f"verifier {dotted}: cannot be imported ({reason}). A policy is judged by the verifier "
            "that it was trained with: start this command in the folder that the run was started in, or put the "
            "verifier's folder on PYTHONPATH."
        )
