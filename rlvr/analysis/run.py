"""A training run from its folder: what it was trained with, its models and files, and how its policy is judged.

Importing this is light: pyarrow comes with the first table.
"""

from __future__ import annotations

import importlib.util
import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rlvr.analysis.loaded import LoadedAnalysis
from rlvr.config import AdvantageConfig, Config, LearnerConfig, LossConfig, RewardConfig
from rlvr.dotted import is_dotted, split_dotted
from rlvr.errors import ConfigError, DataError
from rlvr.reward.verdict import Rules
from rlvr.runtime.disk import settings
from rlvr.runtime.disk.checkpoint_folders import STATE, checkpoints_in
from rlvr.runtime.disk.dumps import dump_files, dump_lines, dump_name
from rlvr.runtime.disk.summary import SUMMARY, Summary, finished_steps, read_summary

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

POLICY = "policy"  # folder of the exported policy, in a run and in a checkpoint
# What decides which prompts a policy of the run gets and how its answers are judged: these sections without the keys
# that only training reads, and what ends an answer.
JUDGED_BY = ("model", "data", "reward", "eval")
ENDED_BY = ("max_response_tokens", "stop", "stop_token_ids", "min_tokens")  # keys of `rollout`
ONLY_TRAINING = (
    "model.path", "model.base_path", "model.attention", "model.gradient_checkpointing", "data.train",
    "data.prompts_per_step", "data.on_overlap", "data.shuffle", "reward.workers", "reward.overlong",
    "reward.overlong_cache", "reward.overlong_filter", "eval.every", "eval.in_stream",
)  # fmt: skip


@dataclass(frozen=True)
class LoadedRun:
    """The folder of a training run, finished or not, or that of a checkpoint."""

    folder: Path
    config: Config  # with which it was trained

    @cached_property
    def summary(self) -> Summary | None:
        """summary.json, None where the run has not finished; raises DataError where it is damaged."""
        file = self.folder / SUMMARY
        return read_summary(file) if file.is_file() else None

    @property
    def started_from(self) -> str:
        """The model before the first step."""
        return self.config.model.path

    @property
    def base(self) -> str:
        """The model that the policy is compared with."""
        return self.config.model.base_path or self.config.model.path

    @property
    def policy(self) -> Path | None:
        """The exported policy, if there is one."""
        exported = self.folder / POLICY
        return exported if (exported / "config.json").is_file() else None

    @property
    def goes_on(self) -> bool:
        """Whether it trains on, or is to: what it may have exported is of an earlier end."""
        return not (self.folder / SUMMARY).is_file() and bool(checkpoints_in(self.folder / "checkpoints"))

    def exported(self, key: str, otherwise: str = "") -> Path:
        """The exported policy; `key` is the setting that named the run, `otherwise` what may be done instead.

        Warns where it is that of an earlier end.

        Raises:
            ConfigError: there is none.
        """
        if self.policy is None:
            raise ConfigError(
                f"{key}: {self.folder} belongs to a training run, but holds no policy in Hugging Face format: the run "
                "has not finished, or ran with run.export=false. Finish it with run.resume=auto run.export=true, "
                f"or write that of a checkpoint with rlvr export{otherwise}"
            )
        self.warn_of_earlier_end(key)
        return self.policy

    def warn_of_earlier_end(self, key: str) -> None:
        """Say so where the exported policy is not what the run has come to."""
        if self.goes_on:
            log.warning(
                "%s: the policy in %s is of an earlier end of a run that goes on; rlvr export writes that of its "
                "newest checkpoint",
                key,
                self.folder,
            )

    def checkpoints(self) -> list[Path]:
        """The checkpoints, oldest first, without the one that is the exported policy; their policy if exported.

        Raises:
            DataError: the summary, which says which one that is, is damaged.
        """
        summary = self.folder / SUMMARY
        last = finished_steps(summary) if summary.is_file() else None
        found = checkpoints_in(self.folder / "checkpoints").items()
        earlier = [p for p, step in found if (p / STATE).is_file() and step != last]
        return [p / POLICY if (p / POLICY / "config.json").is_file() else p for p in earlier]

    def evaluations(self) -> list[Path]:
        """The graded responses of every evaluation, the earliest first."""
        return dump_files(self.folder / "samples", "eval_*")

    def judging(self) -> dict[str, Any]:
        """{dotted key: value} of everything that a policy of this run is evaluated with."""
        sections = {name: asdict(getattr(self.config, name)) for name in JUDGED_BY}
        found = {f"{name}.{key}": value for name, own in sections.items() for key, value in own.items()}
        found |= {f"rollout.{key}": getattr(self.config.rollout, key) for key in ENDED_BY}
        return {key: value for key, value in found.items() if key not in ONLY_TRAINING}

    def metrics(self, kind: str | None = None) -> pa.Table:
        """metrics.jsonl as a table; `kind` "train" has a row for each step, "eval" one for each evaluation.

        Numbers that a row does not have are null.
        """
        from rlvr.runtime.disk.folder import RunFolder

        rows = RunFolder(self.folder.parent, self.folder.name).read_metrics()
        return _table([row for row in rows if kind in (None, row.get("kind"))])

    def samples(self, dump: str = "*") -> pa.Table:
        """Every dumped response, a row each; the column `dump` says of which step or evaluation.

        `dump` is the name of one, such as "step_000020" or "eval_000000", or a pattern like "eval_*".

        Raises:
            DataError: there is no such dump, or one is damaged.
        """
        files = dump_files(self.folder / "samples", dump)
        if not files:
            raise DataError(f"{self.folder / 'samples'}: no dump {dump!r} of responses there")
        return _table([row for file in files for row in _dumped(file)])

    def analysis(self) -> LoadedAnalysis:
        """The analysis of this run.

        Raises:
            DataError: it has not been analysed.
        """
        folder, remedy = self.folder / "analysis", f"rlvr.analyze(run={str(self.folder)!r})"
        if not (folder / "analysis.json").is_file():
            raise DataError(f"{folder}: no analysis.json there, so no finished analysis; {remedy} makes one")
        return LoadedAnalysis(folder)

    def token_table(self) -> pa.Table:
        """The token table of this run's analysis.

        Raises:
            DataError: the run has not been analysed.
        """
        return self.analysis().tokens()


def read_run(path: str | Path) -> LoadedRun:
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
        cfg = OmegaConf.to_object(OmegaConf.merge(settings.schema(), settings.read_settings(folder)))
    except (*settings.UNREADABLE, OmegaConfBaseException) as error:  # a file that a user may have edited
        raise ConfigError(
            f"run={path}: its config.yaml cannot be read ({error}), so it is not the folder of a training run of this "
            "version; name the models instead"
        ) from error
    assert isinstance(cfg, Config)
    return LoadedRun(folder, cfg)


def load_run(path: str | Path) -> LoadedRun:
    """A training run from its folder, its summary included; raises as `read_run`, and DataError for the summary."""
    run = read_run(path)
    _ = run.summary
    return run


def _dumped(file: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(dump_lines(file), start=1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{file}, line {number}: not JSON ({error})") from error
        if not isinstance(row, dict):
            raise DataError(
                f"{file}, line {number}: a JSON {type(row).__name__}; expected an object, a response"
            )
        yield {"dump": dump_name(file), **row}


def _table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    import pyarrow as pa

    columns = dict.fromkeys(name for row in rows for name in row)  # in order of their first row
    return pa.table({name: [row.get(name) for row in rows] for name in columns})


def policy_of_run(path: str) -> tuple[str, LoadedRun | None]:
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
        run = read_run(folder.parent)
        run.warn_of_earlier_end(f"model={path}")
        return path, run
    return path, None


def without_training(cfg: Config) -> Config:
    """The configuration with the parts that only training reads set so that they are always consistent."""
    learner = LearnerConfig(
        updates_per_step=1,
        gpus_per_worker=cfg.rollout.gpus_per_engine,
        tokens_per_micro_batch=max(LearnerConfig.tokens_per_micro_batch, cfg.model.max_length),
    )
    data = replace(cfg.data, prompts_per_step=max(cfg.data.prompts_per_step, cfg.rollout.engines))
    reward = replace(cfg.reward, overlong="off", overlong_filter=False)
    rollout = replace(cfg.rollout, staleness=0, answers=None, replay=None, dynamic_sampling=False)
    return replace(
        cfg,
        learner=learner,
        data=data,
        reward=reward,
        rollout=rollout,
        loss=LossConfig(),
        advantage=AdvantageConfig(estimator="reinforce"),  # which asks nothing of groups and of rewards
        cluster=replace(cfg.cluster, colocate=False),
    )


def require_verifiers(reward: RewardConfig, sources: Iterable[Rules]) -> None:
    """Refuse verifiers of one's own whose modules are not there, before anything is started for them.

    Raises:
        ConfigError: says where the command has to be started.
    """
    for name in dict.fromkeys([reward.verifier, *(rules.verifier for rules in sources)]):
        if name is None or not is_dotted(name):
            continue
        module, _ = split_dotted(name)
        try:
            found = bool(module) and importlib.util.find_spec(module) is not None
            reason = f"there is no module {module!r} here"
        except (ImportError, ValueError) as error:  # of a package above it
            found, reason = False, str(error)
        if not found:
            raise ConfigError(
                f"verifier {name}: cannot be imported ({reason}). A policy is judged by the verifier "
                "that it was trained with: start this command in the folder that the run was started in, or put the "
                "verifier's folder on PYTHONPATH."
            )
