"""The processes of a run: engines, learner and graders, started side by side."""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass

from rlvr import cluster
from rlvr.advantage.token import TokenPlugin
from rlvr.cluster import Bundle
from rlvr.cluster.cards import check_wheel, local_cards
from rlvr.cluster.machine import engine_gpus, run_gpus
from rlvr.cluster.placement import engine_parts, learner_parts, shared_parts
from rlvr.cluster.turns import Turn, Turns
from rlvr.config import Config
from rlvr.data.models.context import check_context
from rlvr.data.models.hub import ModelFetcher
from rlvr.data.models.tokenizer import is_local, model_folder
from rlvr.data.models.weight_files import check_weights_of
from rlvr.data.problems import rules_of
from rlvr.data.sources import all_sources
from rlvr.divergence.backends import backend_in_use
from rlvr.learner.group import LearnerGroup
from rlvr.learner.model.adapters import adapter_to_send
from rlvr.learner.scoring import needed_signals
from rlvr.learner.spec import LearnerSpec
from rlvr.reward.workers.pool import GraderPool, open_grader_pool
from rlvr.rollout.pool import EnginePool
from rlvr.rollout.programs import find_lscpu
from rlvr.runtime.disk.folder import RunFolder
from rlvr.runtime.inputs import TrainingInputs
from rlvr.runtime.tracking.tracker import Tracker
from rlvr.sync.sender import choose_backend, sends_changes
from rlvr.types import Tokenizer

log = logging.getLogger(__name__)
# Nothing else bounds a download that goes on: the fetching process itself ends one that stands still.
DOWNLOAD_SECONDS = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Actors:
    """The processes of a run."""

    engines: EnginePool
    learner: LearnerGroup
    graders: GraderPool
    versions: dict[str, str]


def check_machine(cfg: Config) -> None:
    """Refuse what `start_actors` would refuse of this machine, and start nothing.

    Raises:
        ConfigError: Ray or an engine could not start here.
    """
    cluster.check_machine(cfg.cluster, actors=actor_count(cfg))
    _check_programs(cfg)


def actor_count(cfg: Config) -> int:
    """Ray's actors in a training run."""
    return cfg.rollout.engines + cfg.learner.workers


def _check_programs(cfg: Config) -> None:
    """Where engines run on this machine, what they would miss is missed before Ray starts."""
    if cfg.rollout.gpus_per_engine == 0 and cfg.cluster.address == "local":
        find_lscpu()


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
    if device == "cuda":
        import torch

        check_wheel(local_cards(), torch.cuda.get_arch_list(), torch.__version__)
    _check_programs(cfg)
    count = actor_count(cfg)
    stack.callback(cluster.shutdown)
    with tracker.phase("starting Ray"):
        ray = cluster.start(cfg.cluster, actors=count)
    cluster.check_resources(ray, gpus=run_gpus(cfg), actors=count)
    tracker.note(f"ray: {ray.nodes} node(s), {ray.cpus:g} CPUs, {ray.gpus:g} GPUs; logs in {ray.log_folder}")
    with tracker.phase("fetching models") if hub_models(cfg) else nullcontext():
        fetch_models(cfg, tracker.note)
    with tracker.phase("reserving GPUs") if run_gpus(cfg) else nullcontext():
        engine_bundles, rank_bundles = _reserve(cfg)
    spec = LearnerSpec(
        cfg,
        model_folder=model_folder(cfg.model.path),
        base_folder=inputs.base_folder,
        signals=needed_signals(plugin, cfg.loss, cfg.tracking.signals),
        plugin=plugin,
        device=device,
    )
    started = f"starting {cfg.rollout.engines} engine(s) and {cfg.learner.workers} learner rank(s)"
    with tracker.phase(started, announce=True):
        adapter = adapter_to_send(cfg, spec.model_folder)
        engines = EnginePool(cfg, spec.model_folder, inputs.tokenizer, device, engine_bundles, adapter)
        engines.vocabulary = inputs.vocabulary
        if cfg.cluster.colocate:  # the engines measure free memory while they start, so the learner waits
            engines.ready()
            engines.sleep(cfg.cluster.sleep_level)
        learner = LearnerGroup(spec, rank_bundles)
        graders = stack.enter_context(open_graders(cfg, folder))
        tracker.open_boards()
        learner_versions, engine_versions = cluster.wait_together(learner.starting, engines.starting)
    if cfg.cluster.colocate:
        engines.turns = learner.turns = Turns(
            SharedGpus(engines, learner), level=cfg.cluster.sleep_level, start=Turn.LEARN
        )
        tracker.note(f"engines and learner take turns on their GPUs (sleep level {cfg.cluster.sleep_level})")
    with tracker.phase("connecting learner and engines"):
        learner.connect(engines.handles)
    _say_how(cfg, learner, device, tracker.note)
    return Actors(engines, learner, graders, _versions() | learner_versions[0] | engine_versions[0])


def _say_how(cfg: Config, learner: LearnerGroup, device: str, say: Callable[[str], object]) -> None:
    """Which weight transfer and which kernel have been chosen, and why."""
    backend, reason = choose_backend(cfg, device)
    say(f"weights travel over {backend} ({reason}); signals: {', '.join(sorted(learner.signals))}")
    if cfg.sync.sparse != "off" and not sends_changes(cfg, device):
        say(f"sync.sparse={cfg.sync.sparse}: every push sends all weights, as {backend} has no other way yet")
    kernel, because = backend_in_use(cfg.learner.divergence_backend, device)
    say(f"divergence and log-probs are computed by {kernel} ({because})")


def _reserve(cfg: Config) -> tuple[list[Bundle], list[Bundle]]:
    """The GPUs of every engine and of every rank of the learner; no bundles on CPU."""
    deadline = cfg.cluster.start_deadline_seconds
    if cfg.cluster.colocate:
        shared = cluster.reserve(shared_parts(cfg), deadline_seconds=deadline)
        return shared, shared
    of_engines = engine_parts(cfg)
    bundles = cluster.reserve([*of_engines, *learner_parts(cfg)], deadline_seconds=deadline)
    return bundles[: len(of_engines)], bundles[len(of_engines) :]


@dataclass(frozen=True, slots=True)
class SharedGpus:
    """The moves between host memory and GPUs that engines and learner share."""

    engines: EnginePool
    learner: LearnerGroup

    def engines_sleep(self) -> None:
        """Free the KV cache and the engines' weights."""
        self.engines.sleep(self.learner.cfg.cluster.sleep_level)

    def engines_wake_weights(self) -> None:
        """Give the engines memory for their weights."""
        self.engines.wake_up("weights")

    def engines_wake_cache(self) -> None:
        """Give the engines their KV cache."""
        self.engines.wake_up("kv_cache")

    def push_again(self) -> None:
        """Send the weights of the last push once more."""
        self.learner.push_again()

    def learner_load(self) -> None:
        """Bring all of the learner's states to the GPU."""
        self.learner.to_device()

    def learner_keep_parameters(self) -> None:
        """Leave the parameters on the GPU, everything else goes to host memory."""
        self.learner.states_to_host()

    def learner_unload(self) -> None:
        """Send the parameters to host memory, too."""
        self.learner.parameters_to_host()


@contextmanager
def open_engines(
    cfg: Config, folder: RunFolder, tokenizer: Tokenizer
) -> Iterator[tuple[EnginePool, GraderPool]]:
    """Engines and graders without a learner, for evaluation and analysis; ended again whatever happens."""
    check_context(cfg.model)
    check_weights_of("model.path", cfg.model.path)
    device = "cuda" if cfg.rollout.gpus_per_engine > 0 else "cpu"
    _check_programs(cfg)
    with ExitStack() as stack:
        stack.callback(cluster.shutdown)
        ray = cluster.start(cfg.cluster, actors=cfg.rollout.engines)
        cluster.check_resources(ray, gpus=engine_gpus(cfg), actors=cfg.rollout.engines)
        fetch_models(cfg, log.info)
        graders = stack.enter_context(open_graders(cfg, folder))
        bundles = cluster.reserve(engine_parts(cfg), deadline_seconds=cfg.cluster.start_deadline_seconds)
        engines = EnginePool(cfg, model_folder(cfg.model.path), tokenizer, device, bundles)
        engines.ready()
        yield engines, graders


def fetch_models(cfg: Config, say: Callable[[str], object]) -> None:
    """Have the models that stand on the hub fetched once on every node, before the processes that load them start.

    Raises:
        DataError: a model that the hub does not give.
        DeadlineError: no new byte for model.download_stall_seconds.
    """
    for name in hub_models(cfg):
        nodes = cluster.node_ids()
        say(
            f"model {name}: looking for it on {len(nodes)} node(s), and fetching what is missing from the hub"
        )
        fetchers = [
            cluster.spawn(
                ModelFetcher,
                cluster.Placement(f"fetch-{i}", gpus=0, threads=1, cpus=0, node=node),
                name,
                cfg.model.download_stall_seconds,
            )
            for i, node in enumerate(nodes)
        ]
        try:
            seconds = cluster.wait(
                [f.fetch.remote() for f in fetchers],
                deadline_seconds=DOWNLOAD_SECONDS,
                what=f"download of the model {name}",
            )
        finally:
            cluster.kill(fetchers)
        say(f"model {name}: there after {max(seconds):.0f} s")


def hub_models(cfg: Config) -> list[str]:
    """The models of a run that are no folders: names on the hub, each once."""
    paths = [cfg.model.path, cfg.model.base_path]
    return list(dict.fromkeys(path for path in paths if path is not None and not is_local(path)))


def open_graders(cfg: Config, folder: RunFolder) -> GraderPool:
    """The grader workers of a run."""
    return open_grader_pool(
        cfg.reward,
        map(rules_of, all_sources(cfg.data)),
        workers=cfg.reward.workers,
        save_folder=folder.path / "samples",
    )


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    names = ("rlvr", "ray", "transformers", "math-verify", "hydra-core")
    return {name: version(name) for name in names} | {"python": platform.python_version()}
