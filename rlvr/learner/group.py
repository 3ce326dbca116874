"""The learner's ranks as one: calls go to all of them and come back merged."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from rlvr.cluster import Bundle, Calls, Placement, put, spawn, wait, wait_together
from rlvr.cluster.handles import Ref
from rlvr.cluster.machine import threads_per_actor
from rlvr.cluster.turns import Apart, Turn, TurnTaking
from rlvr.learner.actor import Learner
from rlvr.learner.scoring import merge_scores
from rlvr.learner.spec import LearnerHandle, LearnerSpec
from rlvr.sync.client import TransferHandle
from rlvr.sync.sent import Sent, push_note
from rlvr.types import Batch, StepStats

log = logging.getLogger(__name__)
R = TypeVar("R")


class LearnerGroup:
    """Handles of all learner ranks."""

    def __init__(self, spec: LearnerSpec, bundles: Sequence[Bundle] = ()) -> None:
        self.cfg = cfg = spec.cfg
        self.turns: TurnTaking = Apart()
        self.pushed = 0  # version of the last push
        self.sent: Sent | None = None  # what it sent to each worker of the engines
        self.say: Callable[[str], object] = log.info  # told where pushes begin to go another way
        self.busy_seconds = 0.0  # scoring, updating and sending, as the slowest rank of each call saw it
        self._deadline = cfg.learner.deadline_seconds
        world = spec.world_size
        busy = world + (cfg.rollout.engines if cfg.rollout.staleness else 0)
        threads = threads_per_actor(cfg.cluster, busy_together=busy)
        env = {"DS_ACCELERATOR": spec.device}
        self.signals = spec.signals
        self.handles: list[LearnerHandle] = [
            spawn(
                Learner,
                Placement(
                    f"learner-{rank}",
                    cfg.learner.gpus_per_worker,
                    threads,
                    env,
                    bundle=bundles[rank] if bundles else None,
                ),
                spec,
                rank,
            )
            for rank in range(world)
        ]
        master = self.handles[0].address.remote()
        self.starting = Calls(
            [h.start.remote(master) for h in self.handles],
            deadline_seconds=cfg.learner.start_deadline_seconds,
            what="start of the learner",
            key="learner.start_deadline_seconds",
        )

    def _ranks_on_turn(self) -> list[LearnerHandle]:
        """The ranks, in their turn."""
        self.turns.take(Turn.LEARN)
        return self.handles

    def _call(self, refs: Sequence[Ref[R]], what: str, of_sync: float | None = None) -> list[R]:
        """Results of the calls; `of_sync` is how many of sync.deadline_seconds they may take."""
        if of_sync is None:
            return wait(refs, deadline_seconds=self._deadline, what=what, key="learner.deadline_seconds")
        seconds = of_sync * self.cfg.sync.deadline_seconds
        return wait(refs, deadline_seconds=seconds, what=what, key="sync.deadline_seconds")

    def ready(self) -> dict[str, str]:
        """Wait until every rank holds its models; returns the versions they run on."""
        return wait_together(self.starting)[0][0]

    def connect(self, engines: Sequence[TransferHandle]) -> None:
        """Open the weight-transfer channel from rank 0 to the engines."""
        refs = [h.connect_engines.remote(list(engines)) for h in self.handles]
        self._call(refs, "connection of learner and engines", of_sync=1.5)

    def push(self, version: int) -> None:
        """Bring the engines to the learner's current weights, from now on called `version`."""
        self.turns.take(Turn.PUSH)
        self._send(version)
        self.turns.pushed()

    def push_again(self) -> None:
        """Send the weights of the last push once more, to engines that have dropped them."""
        self._send(self.pushed)

    def _send(self, version: int) -> None:
        refs = [h.push_weights.remote(version) for h in self.handles]
        answers = self._call(refs, f"push of weight version {version}", of_sync=3)
        self.busy_seconds += max(seconds for _, seconds in answers)
        before, self.pushed, self.sent = self.sent, version, answers[0][0]
        if note := push_note(before, self.sent):
            self.say(note)

    def states_to_host(self) -> None:
        """Move the ranks' states, all but the parameters, to host memory."""
        self._call([h.states_to_host.remote() for h in self.handles], "learner states to host memory")

    def parameters_to_host(self) -> None:
        """Move the ranks' parameters to host memory, once the states are there."""
        self._call([h.parameters_to_host.remote() for h in self.handles], "parameters to host memory")

    def to_device(self) -> None:
        """Move the ranks' states back."""
        self._call([h.to_device.remote() for h in self.handles], "learner states to their devices")

    def score(self, batch: Batch) -> Batch:
        """The batch with the token statistics that this run needs."""
        shared = put(batch)
        refs = [h.score.remote(shared, sorted(self.signals)) for h in self._ranks_on_turn()]
        answers = self._call(refs, "scoring of a batch")
        self.busy_seconds += max(seconds for _, _, seconds in answers)
        return merge_scores(batch, [(index, values) for index, values, _ in answers])

    def step(self, batch: Batch, *, seed: int, progress: float, lr_scale: float = 1.0) -> StepStats:
        """All optimiser updates of the batch; `lr_scale=0` leaves the weights, but not the
        optimiser's moments: call `reset_optimizer` after it."""
        shared = put(batch)
        refs = [
            h.step.remote(shared, seed=seed, progress=progress, lr_scale=lr_scale)
            for h in self._ranks_on_turn()
        ]
        answers = self._call(refs, "update on a batch")
        self.busy_seconds += max(seconds for _, seconds in answers)
        return answers[0][0]

    def reset_optimizer(self) -> None:
        """Forget the optimiser's moments, as before the first update."""
        self._call([h.reset_optimizer.remote() for h in self._ranks_on_turn()], "reset of the optimiser")

    def save(self, folder: str) -> None:
        """Write the learner's part of a checkpoint into `folder`."""
        self._call([h.save.remote(folder) for h in self._ranks_on_turn()], f"checkpoint to {folder}")

    def load(self, folder: str) -> None:
        """Restore the learner's part of a checkpoint."""
        self._call([h.load.remote(folder) for h in self._ranks_on_turn()], f"restoring from {folder}")

    def export(self, folder: str) -> None:
        """Write the policy in Hugging Face format."""
        self._call([h.export.remote(folder) for h in self._ranks_on_turn()], f"export to {folder}")
