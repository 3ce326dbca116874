"""Where decoding happens: in this process, or in Ray actors that share out the problems."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from typing import Any

import torch

from rlvr import cluster
from rlvr.analysis.cross.config import CrossSampleConfig
from rlvr.analysis.cross.decoder import Mixed, MixedDecoder, MixedSampling, ResponseJob
from rlvr.analysis.cross.records import DIRECTIONS
from rlvr.analysis.cross.slots import Prefills
from rlvr.cluster.limits import usable_cores
from rlvr.config import ClusterConfig
from rlvr.data.models.tokenizer import load_tokenizer
from rlvr.errors import ConfigError
from rlvr.learner.model.causal_lm import load_lm
from rlvr.rollout.stop import stop_check

START_DEADLINE_SECONDS = 600.0  # both models loaded in every actor


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """What a worker loads and how it samples."""

    base: str
    policy: str
    dtype: str
    trust_remote_code: bool
    device: str
    sampling: MixedSampling
    batch: int


class DecodeWorker:
    """Both models in one process."""

    def __init__(self, spec: WorkerSpec) -> None:
        self._spec = spec
        self._models = load_decoders(spec)
        self._prefills = {name: Prefills() for name in self._models}  # the prompts are those of every rule
        self._stops = stop_check(spec.sampling.ends, load_tokenizer(spec.policy, spec.trust_remote_code))

    def ready(self) -> None:
        """Return once both models are loaded."""

    def decode(self, direction: str, rule: str, jobs: Sequence[ResponseJob]) -> list[Mixed]:
        """Write the responses, in the order of the jobs."""
        how = self._spec
        primary, intervening = (self._models[name] for name in DIRECTIONS[direction])
        prefills = [self._prefills[name] for name in DIRECTIONS[direction]]
        decoder = MixedDecoder(primary, intervening, how.sampling, how.batch, self._stops, prefills)
        return decoder.run(jobs, rule)


def load_decoders(spec: WorkerSpec) -> dict[str, Any]:
    """Both models by the settings that name them, `base` and `policy`, ready to decode.

    Raises:
        ConfigError: one cannot be loaded.
    """
    load = partial(load_lm, dtype=spec.dtype, attention="sdpa", trust_remote_code=spec.trust_remote_code)
    folders = {"base": spec.base, "policy": spec.policy}
    return {key: load(f"{key}={folder}", folder).eval().to(spec.device) for key, folder in folders.items()}


@contextmanager
def open_decoders(spec: WorkerSpec, cfg: CrossSampleConfig) -> Iterator[DecodeWorker | DecodePool]:
    """One worker here, or several as Ray actors, with their models; responses do not depend on how many.

    Raises ConfigError for a model that cannot be loaded and for GPUs that do not exist.
    """
    if cfg.actors == 1:
        if spec.device == "cuda" and not torch.cuda.is_available():
            raise ConfigError(
                f"gpus_per_actor={cfg.gpus_per_actor:g}: there is no CUDA device here; set gpus_per_actor=0 for the CPU"
            )
        if cfg.threads is not None:
            torch.set_num_threads(cfg.threads)
        yield DecodeWorker(spec)
        return
    started = cluster.start(ClusterConfig(address=cfg.address), actors=cfg.actors)
    actors: list[Any] = []
    try:
        count, gpus = cfg.actors, cfg.gpus_per_actor
        if gpus * count > started.gpus or count > started.cpus:
            raise ConfigError(
                f"actors={count}, gpus_per_actor={gpus:g}: the Ray cluster has {started.gpus:g} GPUs and "
                f"{started.cpus:g} CPU slots on {started.nodes} node(s); lower one of the two"
            )
        each = cfg.threads or max(1, usable_cores() * started.nodes // count)
        places = [cluster.Placement(f"cross-{i}", gpus, each) for i in range(count)]
        actors = [cluster.spawn(DecodeWorker, place, spec) for place in places]
        cluster.wait(
            [actor.ready.remote() for actor in actors],
            deadline_seconds=START_DEADLINE_SECONDS,
            what="loading both models in the cross-sampling actors",
        )
        yield DecodePool(actors, cfg.deadline_seconds)
    finally:
        cluster.kill(actors)
        cluster.shutdown()


@dataclass(frozen=True, slots=True)
class DecodePool:
    """Ray actors that share out the problems."""

    actors: Sequence[Any]
    deadline_seconds: float  # of one set of responses

    def decode(self, direction: str, rule: str, jobs: Sequence[ResponseJob]) -> list[Mixed]:
        """Write the responses, in the order of the jobs; one problem's responses stay with one actor.

        Raises DeadlineError or ActorError where an actor is stuck or dies.
        """
        problems = dict.fromkeys(job.problem_id for job in jobs)
        place = dict(zip(problems, cycle(range(len(self.actors))), strict=False))
        shares: list[list[ResponseJob]] = [[] for _ in self.actors]
        for job in jobs:
            shares[place[job.problem_id]].append(job)
        calls = [
            actor.decode.remote(direction, rule, share)
            for actor, share in zip(self.actors, shares, strict=True)
        ]
        parts = cluster.wait(
            calls, deadline_seconds=self.deadline_seconds, what=f"cross-sampling {direction} {rule}"
        )
        written = {
            job: one
            for share, part in zip(shares, parts, strict=True)
            for job, one in zip(share, part, strict=True)
        }
        return [written[job] for job in jobs]
