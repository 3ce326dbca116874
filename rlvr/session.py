"""Everything a training run holds open: Ray, engines, learner, graders, data, folder and tracker."""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil
from omegaconf import OmegaConf
from transformers import PreTrainedTokenizerBase

from rlvr import cluster
from rlvr.advantage.token import TokenPlugin
from rlvr.checkpoint import TrainingState, find_checkpoint, load_state, set_aside_later, step_name
from rlvr.config import Config
from rlvr.data.stream import EvalSet, PromptStream, build_eval_sets, build_training_stream
from rlvr.data.tokenizer import load_tokenizer, model_folder
from rlvr.errors import ConfigError
from rlvr.evaluation import EvalReport
from rlvr.learner.group import LearnerGroup
from rlvr.learner.scoring import needed_signals
from rlvr.pause import listen_for_pause
from rlvr.preflight import preflight
from rlvr.reward.pool import GraderPool
from rlvr.rollout.collect import collect
from rlvr.rollout.pool import EnginePool
from rlvr.rollout.source import AheadSource, BatchSource, SyncSource
from rlvr.run import RunFolder, Summary, run_name
from rlvr.sync.sender import choose_backend
from rlvr.tracking import Tracker
from rlvr.types import Group, RolloutBatch
from rlvr.validate import validate


@dataclass(slots=True)
class Session:
    """The open parts of a run. Built by `open_session`, used by the loop, closed in reverse order."""

    cfg: Config
    plugin: TokenPlugin
    folder: RunFolder
    tracker: Tracker
    engines: EnginePool
    learner: LearnerGroup
    graders: GraderPool
    eval_sets: tuple[EvalSet, ...]
    source: BatchSource
    pause: threading.Event  # set by SIGUSR1: checkpoint at the end of the step, then stop
    start: TrainingState
    resumed_from: str | None
    versions: dict[str, str]
    setup_seconds: float
    opened: float  # time.monotonic() when the loop could begin

    def advance(
        self, state: TrainingState, step: int, rollout: RolloutBatch, mismatch: float
    ) -> TrainingState:
        """The state after a step."""
        return replace(
            state,
            step=step,
            data_position=rollout.data_position,
            tokens_generated=state.tokens_generated + rollout.generated_tokens,
            max_logprob_mismatch=max(state.max_logprob_mismatch, mismatch),
            train_seconds=self.start.train_seconds + time.monotonic() - self.opened,
        )

    @property
    def busy_seconds(self) -> float:
        """Seconds that actors have spent working so far; the rest of a synchronous step is overhead."""
        return self.engines.busy_seconds + self.learner.busy_seconds

    def push(self, version: int) -> None:
        """Bring the engines to the learner's weights, between two generations."""
        with self.engines.exclusive(f"push of weight version {version}"):
            self.learner.push(version)

    def dump(self, step: int, groups: Sequence[Group], dropped: Sequence[Group]) -> None:
        """Write the step's responses, if it is due."""
        every = self.cfg.run.dump_samples_every
        if every and step % every == 0:
            self.folder.dump_samples(step_name(step), [*groups, *dropped])

    def warn_if_short(self, step: int, rollout: RolloutBatch) -> None:
        """Say so when dynamic sampling could not fill the batch."""
        if rollout.short_of:
            self.tracker.note(
                f"WARNING step {step}: dynamic sampling kept {len(rollout.groups)} of "
                f"{self.cfg.data.prompts_per_step} groups after {rollout.rounds} rounds (acceptance "
                f"{rollout.acceptance:.0%}); training on the partial batch. rollout.max_rounds sets the cap."
            )

    def finish(self, state: TrainingState, reports: Sequence[EvalReport]) -> Summary:
        """Export the policy, write summary.json and say where everything lies."""
        train_seconds = self.start.train_seconds + time.monotonic() - self.opened
        if self.cfg.run.export:
            with self.folder.writing():
                self.learner.export(str(self.folder.policy.absolute()))
                self.engines.tokenizer.save_pretrained(self.folder.policy)
        first = reports[0]
        summary = Summary(
            recipe=self.cfg.recipe,
            model=self.cfg.model.path,
            data=self.cfg.data.train.name,
            seed=self.cfg.seed,
            steps=state.step,
            eval_accuracy_before=state.eval_before[first.name],
            eval_accuracy_after=first.accuracy,
            eval_accuracy_ci95=(first.ci_low, first.ci_high),
            eval_sets={
                r.name: {
                    "before": state.eval_before[r.name],
                    "after": r.accuracy,
                    "ci_low": r.ci_low,
                    "ci_high": r.ci_high,
                }
                for r in reports
            },
            train_seconds=round(train_seconds, 2),
            setup_seconds=round(self.setup_seconds, 2),
            tokens_generated=state.tokens_generated,
            max_logprob_mismatch=state.max_logprob_mismatch,
            resumed_from=self.resumed_from,
            versions=self.versions,
            folder=str(self.folder.path),
        )
        self.folder.write_summary(summary)
        self.tracker.close(asdict(summary))
        print(
            f"done: accuracy on {first.name} {summary.eval_accuracy_before:.3f} -> {first.accuracy:.3f} "
            f"(95% {first.ci_low:.3f}..{first.ci_high:.3f}) in {train_seconds:.0f} s of training; "
            f"metrics, samples, checkpoints and policy in {self.folder.path}"
        )
        return summary


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a run reads before anything is started."""

    base_folder: str
    tokenizer: PreTrainedTokenizerBase
    stream: PromptStream
    eval_sets: tuple[EvalSet, ...]


@dataclass(frozen=True, slots=True)
class Actors:
    """The processes of a run."""

    engines: EnginePool
    learner: LearnerGroup
    graders: GraderPool
    versions: dict[str, str]


@contextmanager
def open_session(cfg: Config) -> Iterator[Session]:
    """Check the configuration, start everything, and end it again whatever happens.

    Raises:
        ConfigError: the configuration, the model or the data cannot work; nothing has been started.
        MismatchError: engines and learner disagree before the first step.
    """
    pause = listen_for_pause()
    plan, plugin = validate(cfg)
    inputs = _read_inputs(cfg)
    folder = RunFolder(Path(cfg.run.root), run_name(cfg))
    checkpoint, start = _find_start(cfg, folder)
    cfg, cores = settle_cores(cfg, checkpoint)
    folder.create(cfg)
    folder.reopen(start.step)
    set_aside_later(folder, start.step)
    # A run that ended before its first checkpoint starts afresh, evaluation before step 1 included.
    dropped = folder.rewind(-1 if checkpoint is None else start.step)
    with ExitStack() as stack:
        tracker = Tracker(cfg, folder, start.step + 1, goes_on=checkpoint is not None and not dropped)
        stack.callback(tracker.close)
        tracker.note(f"{plan}\n{cores}")
        actors = _start_actors(cfg, inputs, plugin, folder, tracker, stack)
        if cfg.sync.preflight:
            preflight(
                cfg, actors.engines, actors.learner, actors.graders, inputs.stream, plugin, tracker.note
            )
        if checkpoint is not None:
            actors.learner.load(str(checkpoint.absolute()))
            tracker.note(f"resumed from {checkpoint} after step {start.step}")
        actors.learner.push(start.step)
        source = _open_source(cfg, actors.engines, actors.graders, inputs.stream, start)
        stack.callback(source.close)
        yield Session(
            cfg=cfg,
            plugin=plugin,
            folder=folder,
            tracker=tracker,
            engines=actors.engines,
            learner=actors.learner,
            graders=actors.graders,
            eval_sets=inputs.eval_sets,
            source=source,
            pause=pause,
            start=start,
            resumed_from=None if checkpoint is None else str(checkpoint),
            versions=actors.versions,
            setup_seconds=time.time() - psutil.Process().create_time(),
            opened=time.monotonic(),
        )


def _find_start(cfg: Config, folder: RunFolder) -> tuple[Path | None, TrainingState]:
    """The checkpoint to resume from, if any, and the state to begin with."""
    checkpoint = find_checkpoint(folder, cfg.run.resume)
    start = TrainingState(0, 0, 0, 0.0, 0.0, {}) if checkpoint is None else load_state(checkpoint, cfg)
    finished = (folder.path / "summary.json").exists() and start.step == cfg.steps
    if start.step > cfg.steps or finished:
        raise ConfigError(
            f"steps={cfg.steps}: the checkpoint {checkpoint} already has {start.step} steps; raise steps"
        )
    return checkpoint, start


def _start_actors(
    cfg: Config, inputs: Inputs, plugin: TokenPlugin, folder: RunFolder, tracker: Tracker, stack: ExitStack
) -> Actors:
    """Start Ray, engines, learner and graders side by side, and connect engines and learner."""
    device = "cuda" if cfg.learner.gpus_per_worker > 0 else "cpu"
    count = cfg.rollout.engines + cfg.learner.workers
    gpus = (
        cfg.rollout.engines * cfg.rollout.tensor_parallel * cfg.rollout.gpus_per_engine
        + cfg.learner.workers * cfg.learner.gpus_per_worker
    )
    stack.callback(cluster.shutdown)
    ray = cluster.start(cfg.cluster, actors=count)
    cluster.check_resources(ray, gpus=gpus, actors=count)
    tracker.note(f"ray: {ray.nodes} node(s), {ray.cpus:g} CPUs, {ray.gpus:g} GPUs; logs in {ray.log_folder}")
    engines = EnginePool(cfg, model_folder(cfg.model.path), inputs.tokenizer, device)
    learner = LearnerGroup(
        cfg,
        {
            "model_folder": model_folder(cfg.model.path),
            "base_folder": inputs.base_folder,
            "signals": needed_signals(plugin, cfg.loss, cfg.tracking.signals),
            "plugin": plugin,
            "device": device,
        },
    )
    graders = stack.enter_context(open_graders(cfg, folder))
    versions = _versions() | learner.ready() | engines.ready()
    learner.connect(engines.handles)
    backend, reason = choose_backend(cfg, device)
    tracker.note(f"weights travel over {backend} ({reason}); signals: {', '.join(sorted(learner.signals))}")
    return Actors(engines, learner, graders, versions)


def settle_cores(cfg: Config, checkpoint: Path | None) -> tuple[Config, str]:
    """The configuration with `cluster.cpus` set, and the reason for its value.

    A resumed run keeps the number of its checkpoint: the order of floating-point sums depends on it.
    """
    if cfg.cluster.cpus is not None:
        return cfg, f"cores: {cfg.cluster.cpus} (cluster.cpus)"
    if checkpoint is not None:
        idle = int(OmegaConf.load(checkpoint / "config.yaml").cluster.cpus)
        reason = f"cores: {idle}, as in the checkpoint"
    else:
        idle, cores = cluster.idle_cores()
        reason = f"cores: {idle} of {cores}" + (", the others are busy" if idle < cores else "")
    return replace(cfg, cluster=replace(cfg.cluster, cpus=idle)), f"{reason} (set cluster.cpus to choose)"


def _read_inputs(cfg: Config) -> Inputs:
    """Tokenizer and prompts; whatever is wrong with them is the user's to mend, hence a ConfigError."""
    room = {"context": cfg.model.max_length, "max_response_tokens": cfg.rollout.max_response_tokens}
    try:
        base_folder = model_folder(cfg.model.base_path or cfg.model.path)
        tokenizer = load_tokenizer(cfg.model.path, cfg.model.trust_remote_code)
        eval_sets = build_eval_sets(cfg.data, tokenizer, **room)
        stream = build_training_stream(cfg.data, tokenizer, seed=cfg.seed, eval_sets=eval_sets, **room)
    except (ValueError, OSError) as error:
        raise ConfigError(str(error)) from error
    return Inputs(base_folder, tokenizer, stream, eval_sets)


def open_graders(cfg: Config, folder: RunFolder) -> GraderPool:
    """The grader workers of a run."""
    return GraderPool(
        workers=cfg.reward.workers,
        deadline_seconds=cfg.reward.deadline_seconds,
        memory_mb=cfg.reward.memory_mb,
        policy=cfg.reward.policy,
        verifier=cfg.reward.verifier,
        save_folder=folder.path / "samples",
    )


def _open_source(
    cfg: Config, engines: EnginePool, graders: GraderPool, stream: PromptStream, start: TrainingState
) -> BatchSource:
    def collect_step(step: int, position: int) -> RolloutBatch:
        return collect(engines, graders, stream, cfg, position=position, step=step)

    if cfg.rollout.staleness == 0:
        return SyncSource(collect_step, start.data_position)
    return AheadSource(
        collect_step,
        position=start.data_position,
        first_step=start.step + 1,
        last_step=cfg.steps,
        staleness=cfg.rollout.staleness,
        deadline_seconds=cfg.rollout.deadline_seconds * cfg.rollout.max_rounds,
    )


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    names = ("rlvr", "ray", "transformers", "math-verify", "hydra-core")
    return {name: version(name) for name in names} | {"python": platform.python_version()}
