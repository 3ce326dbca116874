"""One rank of the learner, as it lives inside a Ray actor.

Every rank is called with the same arguments and derives its own share of the work from its rank.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from rlvr.cluster import node_address
from rlvr.cluster.board import READY, Counter, report
from rlvr.cluster.cards import GpuCard, check_wheel
from rlvr.cluster.machine import free_port
from rlvr.learner import deepspeed_api
from rlvr.learner.deepspeed_config import accumulates_itself, clips_itself
from rlvr.learner.distill import with_teacher
from rlvr.learner.diverged import check_norm, finite_logits
from rlvr.learner.entropy import EntropyControl
from rlvr.learner.fp32_sum import Fp32GradientSum
from rlvr.learner.loading import engine_config, load_base, load_trained
from rlvr.learner.model.adapters import FrozenBase
from rlvr.learner.model.policy import PolicyModel
from rlvr.learner.model.ulysses import SequenceShards, join_sequence_shards
from rlvr.learner.optimizers import OPTIMIZERS, reset
from rlvr.learner.packing import (
    MicroBatch,
    MicroPlan,
    micro_batch,
    mini_batches,
    plan_micro_batches,
    sequence_weights,
)
from rlvr.learner.schedule import learning_rate
from rlvr.learner.scoring import needs_base, score_micro_batch
from rlvr.learner.spec import LearnerSpec
from rlvr.learner.teacher import advises
from rlvr.learner.update import Forward, TokenOutputs, UpdateContext, accumulate, over_updates, totals
from rlvr.learner.weights import PolicyWeights
from rlvr.sync.client import TransferHandle
from rlvr.sync.sender import Sender
from rlvr.sync.sent import Sent
from rlvr.timing import Stopwatch
from rlvr.types import Batch, Floats, Ints, StepStats


class Learner:
    """Policy, base (if any signal needs it) and optimiser of one rank."""

    def __init__(self, spec: LearnerSpec, rank: int) -> None:
        self.spec, self.cfg, self.rank = spec, spec.cfg, rank
        self.world = spec.world_size
        self.update = 0  # optimiser updates done since the start of the run
        self._norm = float("nan")  # of the last update's gradient, where we clip it ourselves
        self._fp32_sum: Fp32GradientSum | None = None
        self._entropy = EntropyControl.start(self.cfg.loss)
        self._sender: Sender | None = None
        self._shards = SequenceShards()

    def address(self) -> tuple[str, int]:
        """Where the other ranks can meet this one."""
        return node_address(), free_port()

    def start(self, master: tuple[str, int]) -> dict[str, str]:
        """Join the others at rank 0's address, load models, build the optimiser; returns the versions in use.

        Raises:
            ConfigError: a model, its adapters or the card cannot be used.
        """
        version = deepspeed_api.import_deepspeed()
        if self.spec.device == "cuda":  # the driver has seen the cards of its own node only
            card = GpuCard(torch.cuda.get_device_name(), torch.cuda.get_device_capability())
            check_wheel([card], torch.cuda.get_arch_list(), torch.__version__)
        learner = self.cfg.learner
        deepspeed_api.join_ranks(learner, self.spec.device, self.rank, self.world, master)
        self._shards = join_sequence_shards(
            self.rank, self.world, learner.sequence_parallel, learner.deadline_seconds
        )
        torch.manual_seed(self.cfg.seed)
        policy = load_trained(self.spec, self._shards)
        optimizer = OPTIMIZERS[learner.optimizer](policy, learner)
        if clips_itself(learner, self.cfg.model.dtype):
            optimizer.register_step_pre_hook(self._clip)
        self.engine = deepspeed_api.DeepSpeedEngine(
            policy, engine_config(self.spec, training=True), optimizer
        )
        self.policy: PolicyModel = self.engine.module
        self.weights = PolicyWeights(self.cfg, self.policy.lm)
        if accumulates_itself(learner, self.cfg.model.dtype):
            self._fp32_sum = Fp32GradientSum(self.policy.parameters())
        self.device = self.engine.device
        # DeepSpeed may have taken an empty step while it started, which would count in Adam's bias correction.
        self.reset_optimizer()
        self.base: PolicyModel | FrozenBase | None = None
        if needs_base(self.spec.signals):
            self.base = load_base(self.spec, self._shards, self.policy, self.device)
        for model in (self.policy, self.base) if learner.shards_parameters else ():
            if isinstance(model, PolicyModel):
                # The head is used by the wrapper's forward rather than by its own module.
                deepspeed_api.register_external(model, model.head.weight)
        report(READY)
        return {"deepspeed": version, "torch": torch.__version__}

    # Scoring

    def score(self, batch: Batch, signals: Collection[str]) -> tuple[Ints, dict[str, Floats], float]:
        """The signals of this rank's share: token indices [t] in the batch, {signal: [t]}, seconds taken."""
        watch = Stopwatch()
        plans = self._plan(batch, np.arange(batch.size))
        indices: list[torch.Tensor] = []
        parts: list[dict[str, torch.Tensor]] = []
        self.engine.train(False)
        count = Counter("scores", len(plans), "micro-batches")
        with torch.no_grad(), finite_logits(self.update, self.cfg):
            for plan in plans:
                micro = self._shards.own(micro_batch(batch, plan.rows).to(self.device))
                stats = score_micro_batch(
                    signals,
                    micro,
                    self.policy.temperature,
                    self.engine,
                    self.base,
                    self.cfg.learner.divergence_backend,
                )
                if not plan.padding:
                    indices.append(micro.token)
                    parts.append(stats)
                count.add()
        report(READY)
        joined = {
            name: torch.cat([p[name] for p in parts]).cpu().numpy() if parts else np.zeros(0, np.float32)
            for name in signals
        }
        index = torch.cat(indices).cpu().numpy() if parts else np.zeros(0, np.int64)
        return index, joined, watch.seconds

    # Updating

    def step(
        self, batch: Batch, *, seed: int, progress: float, lr_scale: float = 1.0
    ) -> tuple[StepStats, float]:
        """Run the batch's optimiser updates: numbers summed over ranks, and the seconds taken."""
        watch = Stopwatch()
        if lr_scale > 0:  # a step that is to change nothing does not change the control either
            self._entropy = self._entropy.after(batch)
        updates = mini_batches(batch.size, self.cfg.learner.updates_per_step, seed)
        count, reports = Counter("learns", len(updates), "updates"), []
        for rows in updates:
            reports.append(self._update(batch, rows, seed, progress, lr_scale))
            count.add()
        report(READY)
        return replace(over_updates(reports), entropy_coef=self._entropy.logged), watch.seconds

    def _update(self, batch: Batch, rows: Ints, seed: int, progress: float, lr_scale: float) -> StepStats:
        """One optimiser update on the sequences `rows` of the batch."""
        total = self.cfg.steps * self.cfg.learner.updates_per_step
        lr = learning_rate(self.cfg.learner, self.update, total) * lr_scale
        for group in self.engine.optimizer.param_groups:
            group["lr"] = lr
        loss_weights, metric_weights = (
            sequence_weights(batch, rows, kind, self.cfg.rollout.max_response_tokens)
            for kind in (self.cfg.loss.aggregation, "token_mean")
        )
        context = UpdateContext(
            self._entropy.applied_to(self.cfg.loss),
            self.spec.plugin,
            loss_weights,
            self.world,
            self.device,
            seed,
            progress,
            metric_weights,
        )
        self.engine.train(True)
        plans = self._plan(batch, rows)
        forward: Forward = self.engine
        if context.loss.distill_coef and not advises(context.loss):
            forward = self._with_teacher
        elif context.loss.entropy_coef:
            forward = self._with_entropy
        with finite_logits(self.update, self.cfg):
            terms = accumulate(batch, plans, self._shards.whole(forward), self._backward, context)
        if self._fp32_sum is not None:
            self._fp32_sum.give()
        found = self.engine.step()
        norm = self._norm if found is None else found
        check_norm(norm, self.update, self.cfg)
        if lr_scale > 0:
            self.update += 1
        return StepStats(
            **totals(terms, self.world, self.device, copies=self._shards.ranks),
            grad_norm=norm,
            learning_rate=lr,
            updates=1,
            micro_batches=len(plans),
        )

    def _with_entropy(self, micro: MicroBatch) -> TokenOutputs:
        return TokenOutputs(*self.engine(micro, self.policy.with_entropy(micro)))

    def _with_teacher(self, micro: MicroBatch) -> TokenOutputs:
        if self.base is None:
            raise RuntimeError("loss.distill without a base")  # needed_signals names one of its signals
        use = with_teacher(self.policy, self.base, micro, self.cfg.loss.distill)
        logp, divergence = self.engine(micro, use)
        return TokenOutputs(logp, divergence=divergence)

    def _backward(self, loss: torch.Tensor) -> None:
        self.engine.backward(loss)
        if self._fp32_sum is not None:
            self._fp32_sum.take()

    def _clip(self, optimizer: torch.optim.Optimizer, args: object, kwargs: object) -> None:
        limit = self.cfg.learner.max_grad_norm or float("inf")
        self._norm = float(torch.nn.utils.clip_grad_norm_(self.policy.parameters(), limit))

    def reset_optimizer(self) -> None:
        """Make the optimiser's moments and step counts what they were before the first update."""
        reset(self.engine.torch_optimizer)

    def _plan(self, batch: Batch, rows: Ints) -> list[MicroPlan]:
        budget = self.cfg.learner.tokens_per_micro_batch
        together = self._shards.ranks
        return plan_micro_batches(
            batch, rows, ranks=self.world // together, rank=self.rank // together, budget=budget
        )

    # Weights: to the engines, to disk and back

    def connect_engines(self, engines: list[TransferHandle]) -> None:
        """Open the weight-transfer channel to the engines (rank 0 sends; the others only help to gather)."""
        from rlvr.sync.sender import open_sender

        self._sender = open_sender(
            self.cfg, engines, rank=self.rank, infos=self.weights.infos(), device=self.spec.device
        )

    def push_weights(self, version: int) -> tuple[Sent | None, float]:
        """Have all engines use the current weights as `version`: what this rank has sent, and the seconds taken."""
        watch = Stopwatch()
        if self._sender is None:
            raise RuntimeError("push_weights before connect_engines")
        sent = self._sender.send(self.weights.to_send, version)
        return sent, watch.seconds

    def states_to_host(self) -> None:
        """Move optimiser, gradients, master weights and base to host memory; on CPU it is one memory."""
        if self.spec.device == "cpu":
            return
        self.engine.states_to_host(optimizer_is_there=self.cfg.learner.offload_optimizer != "none")
        if isinstance(self.base, PolicyModel):
            self.base.to("cpu")
        torch.cuda.empty_cache()

    def parameters_to_host(self) -> None:
        """Move the parameters to host memory, once the states are there."""
        if self.spec.device == "cpu":
            return
        self.engine.parameters_to_host()
        torch.cuda.empty_cache()

    def to_device(self) -> None:
        """Move states, parameters and base back to the GPU."""
        if self.spec.device == "cpu":
            return
        self.engine.to_device()
        if isinstance(self.base, PolicyModel):
            self.base.to(self.device)

    def save(self, folder: str) -> None:
        """Write policy and optimiser state below `folder` (all ranks take part)."""
        state = {"update": self.update, "torch_rng": torch.get_rng_state()}
        if self._entropy.target is not None:
            state["entropy_coef"] = self._entropy.coefficient
        self.engine.save(folder, state, without_frozen=self.spec.lora)  # which model.path has

    def load(self, folder: str) -> None:
        """Restore what `save` wrote.

        Raises:
            CheckpointError: the folder lacks a loadable checkpoint for this world size and ZeRO stage.
        """
        state = self.engine.load(folder, without_frozen=self.spec.lora)
        if self._sender is not None:
            self._sender.forget()
        self.update = state["update"]
        torch.set_rng_state(state["torch_rng"])
        if self._entropy.target is not None:
            self._entropy = self._entropy.at(state["entropy_coef"])
        # torch has put back the value of the checkpoint; a resumed run may have another.
        for group in self.engine.optimizer.param_groups:
            group["weight_decay"] = self.cfg.learner.weight_decay

    def export(self, folder: str) -> None:
        """Write the policy in Hugging Face format (rank 0 writes, all ranks help to gather).

        Raises:
            OSError: a full disk, say.
        """
        self.weights.export(Path(folder), writes=self.rank == 0)
