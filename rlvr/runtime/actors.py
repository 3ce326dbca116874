"""The processes of a run: engines, learner and graders, started side by side."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from rlvr import cluster
from rlvr.advantage.token import TokenPlugin
from rlvr.cluster.machine import engine_gpus, run_gpus
from rlvr.config import Config
from rlvr.data.context import check_context
from rlvr.data.tokenizer import model_folder
from rlvr.learner.actor import LearnerSpec
from rlvr.learner.group import LearnerGroup
from rlvr.learner.scoring import needed_signals
from rlvr.reward.pool import GraderPool
from rlvr.rollout.pool import EnginePool
from rlvr.runtime.folder import RunFolder
from rlvr.runtime.inputs import TrainingInputs
from rlvr.runtime.tracking import Tracker
from rlvr.sync.sender import choose_backend
from rlvr.types import Tokenizer


@dataclass(frozen=True, slots=True)
class Actors:
    """The processes of a run."""

    engines: EnginePool
    learner: LearnerGroup
    graders: GraderPool
    versions: dict[str, str]


def start_actors(
    cfg: Config,
    inputs: TrainingInputs,
    plugin: TokenPlugin,
    folder: RunFolder,
    tracker: Tracker,
    stack: ExitStack,
) -> Actors:
    """Start Ray, engines, learner and graders side by side, and connect engines and learner."""
    device = "cuda" if cfg.learner.gpus_per_worker > 0 else "cpu"
    count = cfg.rollout.engines + cfg.learner.workers
    stack.callback(cluster.shutdown)
    ray = cluster.start(cfg.cluster, actors=count)
    cluster.check_resources(ray, gpus=run_gpus(cfg), actors=count)
    tracker.note(f"ray: {ray.nodes} node(s), {ray.cpus:g} CPUs, {ray.gpus:g} GPUs; logs in {ray.log_folder}")
    engines = EnginePool(cfg, model_folder(cfg.model.path), inputs.tokenizer, device)
    learner = LearnerGroup(
        LearnerSpec(
            cfg,
            model_folder=model_folder(cfg.model.path),
            base_folder=inputs.base_folder,
            signals=needed_signals(plugin, cfg.loss, cfg.tracking.signals),
            plugin=plugin,
            device=device,
        )
    )
    graders = stack.enter_context(open_graders(cfg, folder))
    of_learner, of_engines = cluster.wait_together(learner.starting, engines.starting)
    learner.connect(engines.handles)
    backend, reason = choose_backend(cfg, device)
    tracker.note(f"weights travel over {backend} ({reason}); signals: {', '.join(sorted(learner.signals))}")
    return Actors(engines, learner, graders, _versions() | of_learner[0] | of_engines[0])


@contextmanager
def open_engines(
    cfg: Config, folder: RunFolder, tokenizer: Tokenizer
) -> Iterator[tuple[EnginePool, GraderPool]]:
    """Engines and graders without a learner, for evaluation and analysis; ended again whatever happens."""
    check_context(cfg.model)
    device = "cuda" if cfg.rollout.gpus_per_engine > 0 else "cpu"
    with ExitStack() as stack:
        stack.callback(cluster.shutdown)
        ray = cluster.start(cfg.cluster, actors=cfg.rollout.engines)
        cluster.check_resources(ray, gpus=engine_gpus(cfg), actors=cfg.rollout.engines)
        graders = stack.enter_context(open_graders(cfg, folder))
        engines = EnginePool(cfg, model_folder(cfg.model.path), tokenizer, device)
        engines.ready()
        yield engines, graders


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


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    names = ("rlvr", "ray", "transformers", "math-verify", "hydra-core")
    return {name: version(name) for name in names} | {"python": platform.python_version()}
